retrace_test(measures SOURCES measures/test_mask.cpp measures/test_localization.cpp measures/test_perturbation.cpp
  measures/test_baselines.cpp LIBRARIES retrace_measures)
