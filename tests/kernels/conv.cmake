retrace_test(conv DEVICE
  SOURCES conv/harness.cpp conv/shape_table.cpp conv/shapes_test.cpp conv/epilogue_test.cpp conv/identity_test.cpp
    conv/bitwise_test.cpp conv/wgrad_test.cpp conv/validation_test.cpp conv/reference_test.cpp
  LIBRARIES retrace_test_device)
