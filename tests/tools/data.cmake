retrace_test(scenes SOURCES data/test_scenes.cpp data/test_shapes.cpp LIBRARIES retrace_data)
retrace_test(data_files SOURCES data/test_idx.cpp data/test_folder.cpp data/test_spec.cpp
  LIBRARIES retrace_data ZLIB::ZLIB)
retrace_test(loader SOURCES data/test_loader.cpp data/test_augment.cpp LIBRARIES retrace_data)
