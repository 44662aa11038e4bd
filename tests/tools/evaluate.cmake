retrace_test(evaluate SOURCES evaluate/test_accuracy.cpp evaluate/test_results.cpp evaluate/test_report.cpp
  LIBRARIES retrace_tools)
retrace_test(evaluator LABELS sim SOURCES evaluate/test_evaluator.cpp LIBRARIES retrace_tools)
