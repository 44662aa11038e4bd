# One interface target carries what every target of ours is compiled with.
add_library(retrace_options INTERFACE)
target_include_directories(retrace_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(retrace_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wno-unknown-pragmas
    $<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict>>)
if(RETRACE_NATIVE)
  target_compile_options(retrace_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=native>)
endif()
if(RETRACE_SANITIZE)
  target_compile_options(retrace_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${RETRACE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer>)
  target_link_options(retrace_options INTERFACE $<$<LINK_LANGUAGE:CXX>:-fsanitize=${RETRACE_SANITIZE}>)
endif()

if(RETRACE_RACECHECK)
  if(RETRACE_SANITIZE MATCHES "address|thread")
    message(FATAL_ERROR "RETRACE_RACECHECK=ON takes the place of the address and thread sanitizers: "
      "RETRACE_SANITIZE=${RETRACE_SANITIZE} cannot go with it")
  endif()
  target_compile_definitions(retrace_options INTERFACE RETRACE_RACECHECK=1)
endif()

# What the simulated kernels are compiled with beside that. They reinterpret float arrays as vectors, as CUDA
# code does, and their speed is the simulator's; the two passes left out make register tiles slower (they hoist
# more loads than there are registers), and a thread's own loops are too short to be worth vectors.
# Sanitized kernels are for finding faults: quick to compile, every line in its place; AddressSanitizer sees each access, so
# that no pointer need be compared with null as well.
# A watched kernel (RETRACE_RACECHECK) calls the simulator at each load and store: ThreadSanitizer's
# instrumentation without its library, and few enough optimisations that every access is still on its own line.
if(RETRACE_SANITIZE AND NOT RETRACE_RACECHECK)
  set(RETRACE_SIM_KERNEL_OPTIONS -O1 -g1 -fno-strict-aliasing -fno-math-errno -ffp-contract=fast
    -fno-sanitize=null,nonnull-attribute,object-size)
elseif(NOT RETRACE_RACECHECK)
  set(RETRACE_SIM_KERNEL_OPTIONS -O3 -fno-strict-aliasing -fno-math-errno -fno-trapping-math -ffp-contract=fast
    -fno-semantic-interposition)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND RETRACE_SIM_KERNEL_OPTIONS -fno-tree-pre -fno-tree-loop-vectorize)
  endif()
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(RETRACE_SIM_KERNEL_OPTIONS -O1 -g1 -fno-strict-aliasing -fno-math-errno -ffp-contract=fast
    -fsanitize=thread --param=tsan-instrument-func-entry-exit=0)
else()
  set(RETRACE_SIM_KERNEL_OPTIONS -O1 -g1 -fno-strict-aliasing -fno-math-errno -ffp-contract=fast
    -fsanitize=thread -mllvm -tsan-instrument-func-entry-exit=0)
endif()

# retrace_simulate(FILES…): these files of the current folder hold kernels; compile them for the simulator.
function(retrace_simulate)
  set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "${RETRACE_SIM_KERNEL_OPTIONS}")
endfunction()
