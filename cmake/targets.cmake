# Examples, tests, benchmarks and the targets that run them.

find_package(Python3 COMPONENTS Interpreter)
set(built_for_tests unit_tests)
foreach(target bitblasc bitblas bitblas_static reference)
  if(TARGET ${target})
    list(APPEND built_for_tests ${target})
  endif()
endforeach()

# -- Examples: examples/x.c becomes build/examples/x ------------------------------------------------------------------

if(TARGET bitblas)
  file(GLOB examples CONFIGURE_DEPENDS examples/*.c)
  foreach(source IN LISTS examples)
    get_filename_component(name ${source} NAME_WE)
    add_executable(example_${name} ${source})
    target_link_libraries(example_${name} PRIVATE bitblas m)
    set_target_properties(example_${name} PROPERTIES OUTPUT_NAME ${name}
                          RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/examples)
    list(APPEND built_for_tests example_${name})
  endforeach()
endif()

# -- Programs that tests/library runs: tests/library/programs/x.c becomes build/tests/programs/x ------------------------
# Linked statically, so that one file is the whole test on another machine.

if(TARGET bitblas_static)
  file(GLOB programs CONFIGURE_DEPENDS tests/library/programs/*.c)
  foreach(source IN LISTS programs)
    get_filename_component(name ${source} NAME_WE)
    add_executable(library_${name} ${source})
    target_link_libraries(library_${name} PRIVATE bitblas_static ${library_needs})
    target_include_directories(library_${name} PRIVATE ${CMAKE_SOURCE_DIR})
    set_target_properties(library_${name} PROPERTIES OUTPUT_NAME ${name}
                          RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/programs)
    list(APPEND built_for_tests library_${name})
  endforeach()
endif()

# -- bitblas-bench: our kernels beside their peers ---------------------------------------------------------------------
# Linked statically as well. Its parts but main.c are a library that its unit tests link.

file(GLOB bench_sources CONFIGURE_DEPENDS bench/*.c)
list(REMOVE_ITEM bench_sources ${CMAKE_SOURCE_DIR}/bench/main.c)
bitblasc_embed(bench_generated bench_peer ${CMAKE_SOURCE_DIR}/bench/peer.py)
file(GLOB bench_kernels CONFIGURE_DEPENDS bench/kernels/*.tl)
bitblasc_embed(bench_kernels_generated bench_kernels ${bench_kernels})
add_library(bench_parts STATIC EXCLUDE_FROM_ALL ${bench_sources})
target_link_libraries(bench_parts PUBLIC layer_lib)
add_executable(bitblas-bench bench/main.c ${bench_generated} ${bench_kernels_generated})
target_compile_definitions(bitblas-bench PRIVATE BENCH_KERNELS="${CMAKE_SOURCE_DIR}/examples")
target_link_libraries(bitblas-bench PRIVATE bench_parts)
list(APPEND built_for_tests bitblas-bench)

# -- Unit tests: tests/unit/<layer>/test_x.c becomes build/tests/<layer>/test_x ---------------------------------------

find_path(CMOCKA_INCLUDE_DIR cmocka.h)
find_library(CMOCKA_LIBRARY cmocka)
mark_as_advanced(CMOCKA_INCLUDE_DIR CMOCKA_LIBRARY)
add_custom_target(unit_tests)

# A GPU and an NVRTC that do nothing. By this name the loader takes it for the driver where a test is linked with it.
set(tests_with_stand_in test_contract test_linear_load test_run test_launch)
add_library(stand_in_gpu SHARED EXCLUDE_FROM_ALL tests/unit/stand_in/gpu.c)
target_include_directories(stand_in_gpu PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(stand_in_gpu PRIVATE ${CMAKE_DL_LIBS})
set_target_properties(stand_in_gpu PROPERTIES OUTPUT_NAME cuda SOVERSION 1
                      LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/stand_in)

list(APPEND built_for_tests stand_in_gpu)

file(GLOB unit_tests CONFIGURE_DEPENDS tests/unit/*/test_*.c)
if(CMOCKA_INCLUDE_DIR AND CMOCKA_LIBRARY)
  foreach(source IN LISTS unit_tests)
    get_filename_component(name ${source} NAME_WE)
    get_filename_component(directory ${source} DIRECTORY)
    get_filename_component(layer ${directory} NAME)
    set(target unit_${layer}_${name})
    add_executable(${target} EXCLUDE_FROM_ALL ${source})
    target_include_directories(${target} PRIVATE ${CMOCKA_INCLUDE_DIR})
    target_compile_definitions(${target} PRIVATE TEST_SOURCE_DIRECTORY="${directory}")
    target_link_libraries(${target} PRIVATE $<IF:$<STREQUAL:${layer},bench>,bench_parts,layer_lib> ${CMOCKA_LIBRARY})
    set_target_properties(${target} PROPERTIES OUTPUT_NAME ${name}
                          RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/${layer})
    if(name IN_LIST tests_with_stand_in)
      target_link_libraries(${target} PRIVATE stand_in_gpu)
    endif()
    add_dependencies(unit_tests ${target})
  endforeach()
endif()

# -- Fuzz targets: tests/fuzz/targets/fuzz_x.c becomes build/tests/fuzz/fuzz_x -----------------------------------------
# Over files by themselves; with BITBLASC_FUZZ they are libFuzzer's (clang, and the layers instrumented too).

file(GLOB fuzz_targets CONFIGURE_DEPENDS tests/fuzz/targets/fuzz_*.c)
foreach(source IN LISTS fuzz_targets)
  get_filename_component(name ${source} NAME_WE)
  if(BITBLASC_FUZZ)
    add_executable(${name} ${source})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(${name} EXCLUDE_FROM_ALL ${source} tests/fuzz/targets/run_files.c)
    add_dependencies(unit_tests ${name})
  endif()
  target_link_libraries(${name} PRIVATE layer_lib)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/fuzz)
endforeach()

# -- check, proof, bench, format ---------------------------------------------------------------------------------------

# LIT_FILTER=name picks tests by name, LIT_OPTS adds options: `LIT_FILTER=passes/simplify ninja check`.
set(lit ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/lit_main.py --build ${CMAKE_BINARY_DIR})
add_custom_target(check COMMAND ${lit} tests USES_TERMINAL VERBATIM DEPENDS ${built_for_tests})
# proof prints the mutation table of every example, target and schedule; check runs a part of it.
add_custom_target(proof COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/mutation/mutate.py --bitblasc $<TARGET_FILE:bitblasc>
                  COMMAND ${lit} tests/proof USES_TERMINAL VERBATIM DEPENDS ${built_for_tests})
# bitblas-bench prints device, times and ratios; it needs a GPU and says so.
add_custom_target(bench COMMAND bitblas-bench --json=${CMAKE_BINARY_DIR}/bench.json --svg=${CMAKE_BINARY_DIR}/bench.svg
                  USES_TERMINAL VERBATIM DEPENDS bitblas-bench)

find_program(CLANG_FORMAT clang-format)
if(CLANG_FORMAT)
  file(GLOB formatted CONFIGURE_DEPENDS support/*.[ch] ir/*.[ch] frontend/*.[ch] passes/*.[ch] codegen/*.[ch]
       emulator/*.[ch] driver/*.[ch] runtime/*.[ch] lib/*.[ch] include/*.h examples/*.[ch] bench/*.[ch]
       tests/unit/*.h tests/unit/*/*.[ch] tests/library/programs/*.c)
  add_custom_target(format COMMAND ${CLANG_FORMAT} -i ${formatted} VERBATIM)
endif()
