retrace_test(render SOURCES test_render.cpp test_render_text.cpp LIBRARIES retrace_render)
retrace_test(render_mosaic SOURCES test_render_mosaic.cpp LIBRARIES retrace_render)
retrace_test(render_plot SOURCES test_render_plot.cpp LIBRARIES retrace_render)
retrace_test(render_files SOURCES test_render_files.cpp LIBRARIES retrace_render)
