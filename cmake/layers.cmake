# How a directory becomes a library, and how generated sources are made. Generated files keep their directory below
# build/generated, so `#include "frontend/parser.h"` finds the parser's header.

# bitblasc_layer(name BELOW layers... [GENERATED files...]): `layer_<name>` from <name>/*.c and the generated files,
# linked with the layers below it. A directory without sources only passes on what is below it.
function(bitblasc_layer name)
  cmake_parse_arguments(LAYER "" "" "BELOW;GENERATED" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${name}/*.c)
  list(FILTER sources EXCLUDE REGEX "/driver/main[^/]*\\.c$") # the program's, not the layer's
  list(APPEND sources ${LAYER_GENERATED})
  list(TRANSFORM LAYER_BELOW PREPEND layer_)
  if(sources)
    add_library(layer_${name} STATIC ${sources})
    target_link_libraries(layer_${name} PUBLIC bitblasc_headers ${LAYER_BELOW})
    set_target_properties(layer_${name} PROPERTIES OUTPUT_NAME bitblasc_${name})
  else()
    add_library(layer_${name} INTERFACE)
    target_link_libraries(layer_${name} INTERFACE bitblasc_headers ${LAYER_BELOW})
  endif()
endfunction()

# Appends to `list` the C file that re2c makes of `source`, when there is such a source.
function(bitblasc_scanner list source)
  file(GLOB present CONFIGURE_DEPENDS ${source})
  if(NOT present)
    return()
  endif()
  string(REGEX REPLACE "\\.re$" ".c" output ${generated}/${source})
  get_filename_component(directory ${output} DIRECTORY)
  file(MAKE_DIRECTORY ${directory})
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${RE2C_EXECUTABLE} -W --no-generation-date -o ${output} ${present}
    DEPENDS ${present}
    COMMENT "re2c ${source}")
  set(${list} ${${list}} ${output} PARENT_SCOPE)
endfunction()

# Appends to `list` the C file and the header that Bison makes of `source`, when there is such a source.
function(bitblasc_parser list source)
  file(GLOB present CONFIGURE_DEPENDS ${source})
  if(NOT present)
    return()
  endif()
  string(REGEX REPLACE "\\.y$" "" stem ${generated}/${source})
  get_filename_component(directory ${stem} DIRECTORY)
  file(MAKE_DIRECTORY ${directory})
  add_custom_command(
    OUTPUT ${stem}.c ${stem}.h
    COMMAND ${BISON_EXECUTABLE} -Wall -Werror --defines=${stem}.h --output=${stem}.c ${present}
    DEPENDS ${present}
    COMMENT "bison ${source}")
  set_source_files_properties(${stem}.c PROPERTIES COMPILE_OPTIONS "-Wno-unused-but-set-variable")
  set(${list} ${${list}} ${stem}.c ${stem}.h PARENT_SCOPE)
endfunction()

# Appends to `list` a C file that defines `const embedded_file symbol[]` (support/embed.h) with the files given; nothing
# when there are none.
function(bitblasc_embed list symbol)
  if(NOT ARGN)
    return()
  endif()
  set(output ${generated}/${symbol}.c)
  file(MAKE_DIRECTORY ${generated})
  string(REPLACE ";" "|" joined "${ARGN}")
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -D OUTPUT=${output} -D SYMBOL=${symbol} -D "FILES=${joined}"
            -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${ARGN} ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
    COMMENT "embed ${symbol}"
    VERBATIM)
  set(${list} ${${list}} ${output} PARENT_SCOPE)
endfunction()

# Appends to `list` a C file that defines `const char compiler_identity[]`, a hash of the sources of the layers given.
function(bitblasc_identity list)
  set(files "")
  foreach(layer IN LISTS ARGN)
    file(GLOB sources RELATIVE ${CMAKE_SOURCE_DIR} CONFIGURE_DEPENDS ${layer}/*)
    list(APPEND files ${sources})
  endforeach()
  set(output ${generated}/compiler_identity.c)
  file(MAKE_DIRECTORY ${generated})
  string(REPLACE ";" "|" joined "${files}")
  list(TRANSFORM files PREPEND ${CMAKE_SOURCE_DIR}/ OUTPUT_VARIABLE paths)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -D OUTPUT=${output} -D ROOT=${CMAKE_SOURCE_DIR} -D "FILES=${joined}"
            -P ${CMAKE_SOURCE_DIR}/cmake/identity.cmake
    DEPENDS ${paths} ${CMAKE_SOURCE_DIR}/cmake/identity.cmake
    COMMENT "identity of the compiler"
    VERBATIM)
  set(${list} ${${list}} ${output} PARENT_SCOPE)
endfunction()
