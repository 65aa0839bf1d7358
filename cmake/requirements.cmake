# What the build needs from the host, and what to do when it is not there.

set(install_hint "Run ./quickstart, or: apt-get install re2c bison libjansson-dev libxxhash-dev")

find_package(Threads REQUIRED)

find_program(RE2C_EXECUTABLE re2c)
if(NOT RE2C_EXECUTABLE)
  message(FATAL_ERROR "re2c was not found. ${install_hint}")
endif()
execute_process(COMMAND ${RE2C_EXECUTABLE} --version OUTPUT_VARIABLE re2c_version OUTPUT_STRIP_TRAILING_WHITESPACE)
string(REGEX REPLACE "^re2c " "" re2c_version "${re2c_version}")
if(re2c_version VERSION_LESS 3)
  message(FATAL_ERROR "re2c 3 or later is needed; ${RE2C_EXECUTABLE} is ${re2c_version}")
endif()

find_package(BISON 3.7 QUIET)
if(NOT BISON_FOUND)
  message(FATAL_ERROR "Bison 3.7 or later was not found. ${install_hint}")
endif()

# Defines the target `name` for a C library without a CMake package of its own on every distribution.
function(bitblasc_find_library name header library)
  string(REGEX REPLACE "::.*" "" prefix ${name})
  find_path(${prefix}_INCLUDE_DIR ${header})
  find_library(${prefix}_LIBRARY ${library})
  mark_as_advanced(${prefix}_INCLUDE_DIR ${prefix}_LIBRARY)
  if(NOT ${prefix}_INCLUDE_DIR OR NOT ${prefix}_LIBRARY)
    message(FATAL_ERROR "${header} or lib${library} was not found. ${install_hint}")
  endif()
  add_library(${name} UNKNOWN IMPORTED)
  set_target_properties(${name} PROPERTIES IMPORTED_LOCATION ${${prefix}_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES ${${prefix}_INCLUDE_DIR})
endfunction()

bitblasc_find_library(JANSSON::jansson jansson.h jansson)
bitblasc_find_library(XXHASH::xxhash xxhash.h xxhash)
