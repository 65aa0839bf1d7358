# Part of the installed package: kernels that are compiled when the application is built.

# bitblas_add_kernel(name source.tl [KERNEL kernel] [TARGET sm_90a] [DEFINES NAME=VALUE...] [OPTIONS option...])
#
# A static library `name` with the compiled kernel in it, and its launcher: link it and include "name.h" (C99; nothing of
# CUDA's or bitblas's is needed, see docs/embedding.md). The cubin lies beside: the target's property BITBLAS_CUBIN says
# where. What the source includes is known from the compiler, so that a change of it builds again.
#
#   KERNEL   which one, where the source has several
#   TARGET   the GPU; without it the compiler's default: $BITBLASC_TARGET, else the GPU present, else sm_90a
#   DEFINES  params, tune parameters and sizes with their values
#   OPTIONS  anything else for bitblasc
function(bitblas_add_kernel name source)
  cmake_parse_arguments(PARSE_ARGV 2 ARG "" "KERNEL;TARGET" "DEFINES;OPTIONS")
  if(ARG_UNPARSED_ARGUMENTS OR ARG_KEYWORDS_MISSING_VALUES)
    message(FATAL_ERROR "bitblas_add_kernel(${name}): what is '${ARG_UNPARSED_ARGUMENTS}${ARG_KEYWORDS_MISSING_VALUES}'?")
  endif()
  if(NOT BITBLASC_EXECUTABLE)
    message(FATAL_ERROR "bitblas_add_kernel(${name}): bitblasc was not found; set BITBLASC_EXECUTABLE to its path")
  endif()
  get_filename_component(source ${source} ABSOLUTE)
  set(options ${ARG_OPTIONS})
  foreach(define IN LISTS ARG_DEFINES)
    list(APPEND options -D ${define})
  endforeach()
  if(ARG_KERNEL)
    list(APPEND options --kernel=${ARG_KERNEL})
  endif()
  if(ARG_TARGET)
    list(APPEND options --target=${ARG_TARGET})
  endif()
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${name})
  add_custom_command(
    OUTPUT ${output}.cubin ${output}.c ${output}.h
    COMMAND ${BITBLASC_EXECUTABLE} ${source} --emit=cubin,c,header -o ${output}.cubin -MD -MF ${output}.d ${options}
    DEPENDS ${source} ${BITBLASC_EXECUTABLE}
    DEPFILE ${output}.d
    COMMENT "bitblasc ${name}"
    VERBATIM)
  add_library(${name} STATIC ${output}.c ${output}.h)
  target_include_directories(${name} PUBLIC ${CMAKE_CURRENT_BINARY_DIR})
  set_target_properties(${name} PROPERTIES BITBLAS_CUBIN ${output}.cubin)
endfunction()
