# The command line as its users see it: one Python script, standard library only, runs the program itself.
find_package(Python3 3.9 COMPONENTS Interpreter)
if(Python3_FOUND)
  # Sanitizers reserve or keep memory: what is tested of its end does not hold there.
  set(sanitized)
  if(RETRACE_SANITIZE OR RETRACE_RACECHECK)
    set(sanitized 1)
  endif()
  foreach(part results weights failures hostile field import import_bytes evaluate train train_failures demo)
    add_test(NAME cli_${part}
      COMMAND Python3::Interpreter -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_${part}.py)
    set_tests_properties(cli_${part} PROPERTIES LABELS sim TIMEOUT 600
      ENVIRONMENT "RETRACE=$<TARGET_FILE:retrace>;RETRACE_SANITIZED=${sanitized};${RETRACE_TEST_ENVIRONMENT}")
  endforeach()
  # The script for machines with a GPU, with pretended tools; nothing compiled takes part.
  if(NOT RETRACE_SANITIZE)
    add_test(NAME gpu_run COMMAND Python3::Interpreter -B ${CMAKE_CURRENT_SOURCE_DIR}/test_gpu_run.py)
    set_tests_properties(gpu_run PROPERTIES LABELS host TIMEOUT 300)
  endif()
else()
  message(STATUS "No Python 3: the command line is not tested")
endif()
