# Needs data that is not in the repository; skipped, saying so, where it is not at hand.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(targets sim)
if(RETRACE_HAS_CUDA)
  list(APPEND targets cuda)
endif()
foreach(target ${targets})
  add_test(NAME real_network.${target}
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/real/test_real_network.py)
  set_tests_properties(real_network.${target} PROPERTIES LABELS ${target} SKIP_RETURN_CODE 77
    ENVIRONMENT "RETRACE=$<TARGET_FILE:retrace>;RETRACE_TEST_DEVICE=${target};${RETRACE_TEST_ENVIRONMENT}")
endforeach()
