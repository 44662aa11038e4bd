# One interface target carries what every target of ours is compiled with.
add_library(retrace_options INTERFACE)
target_include_directories(retrace_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(retrace_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wno-unknown-pragmas>)
if(RETRACE_NATIVE)
  target_compile_options(retrace_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=native>)
endif()
if(RETRACE_SANITIZE)
  target_compile_options(retrace_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${RETRACE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer>)
  target_link_options(retrace_options INTERFACE $<$<LINK_LANGUAGE:CXX>:-fsanitize=${RETRACE_SANITIZE}>)
endif()

# What the simulated kernels are compiled with beside that. They reinterpret float arrays as vectors, as CUDA
# code does, and their speed is the simulator's.
set(RETRACE_SIM_KERNEL_OPTIONS -O3 -fno-strict-aliasing -fno-math-errno -fno-trapping-math -ffp-contract=fast
  -fno-semantic-interposition)
