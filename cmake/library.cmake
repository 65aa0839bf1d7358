# libbitblas, shared and static, and what a consumer needs to find it: a CMake package and a pkg-config file.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(library_layers support ir frontend passes codegen emulator driver runtime lib)
set(library_objects "")
foreach(layer IN LISTS library_layers)
  get_target_property(type layer_${layer} TYPE)
  if(type STREQUAL "STATIC_LIBRARY")
    list(APPEND library_objects $<TARGET_OBJECTS:layer_${layer}>)
  endif()
endforeach()
set(library_needs JANSSON::jansson XXHASH::xxhash Threads::Threads m ${CMAKE_DL_LIBS})

# Only bitblas_* leaves the shared library: the header marks it, the version script names it.
add_library(bitblas SHARED ${library_objects})
target_link_libraries(bitblas PRIVATE ${library_needs})
target_link_options(bitblas PRIVATE -Wl,--exclude-libs,ALL -Wl,--version-script=${CMAKE_SOURCE_DIR}/lib/bitblas.map)
set_target_properties(bitblas PROPERTIES LINKER_LANGUAGE C SOVERSION ${PROJECT_VERSION_MAJOR} VERSION ${PROJECT_VERSION}
                      LINK_DEPENDS ${CMAKE_SOURCE_DIR}/lib/bitblas.map)
add_library(bitblas_static STATIC ${library_objects})
set_target_properties(bitblas_static PROPERTIES LINKER_LANGUAGE C OUTPUT_NAME bitblas)
foreach(target bitblas bitblas_static)
  target_include_directories(${target} INTERFACE $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>
                                                 $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()

install(TARGETS bitblas EXPORT bitblas_targets LIBRARY COMPONENT library NAMELINK_COMPONENT library)
install(TARGETS bitblas_static ARCHIVE COMPONENT library)
install(FILES ${CMAKE_SOURCE_DIR}/include/bitblas.h TYPE INCLUDE COMPONENT library)
# The reference page: every function and type of the header with its comment.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
  add_custom_command(
    OUTPUT ${CMAKE_BINARY_DIR}/reference.md
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/scripts/reference.py ${CMAKE_SOURCE_DIR}/include/bitblas.h
            ${CMAKE_BINARY_DIR}/reference.md
    DEPENDS ${CMAKE_SOURCE_DIR}/include/bitblas.h ${CMAKE_SOURCE_DIR}/scripts/reference.py
    COMMENT "reference page"
    VERBATIM)
  add_custom_target(reference ALL DEPENDS ${CMAKE_BINARY_DIR}/reference.md)
  install(FILES ${CMAKE_BINARY_DIR}/reference.md TYPE DOC COMPONENT library)
endif()
install(EXPORT bitblas_targets NAMESPACE bitblas:: FILE bitblas-targets.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/bitblas COMPONENT library)
file(RELATIVE_PATH programs /${CMAKE_INSTALL_LIBDIR}/cmake/bitblas /${CMAKE_INSTALL_BINDIR})
file(WRITE ${CMAKE_BINARY_DIR}/bitblas-config.cmake "include(\"\${CMAKE_CURRENT_LIST_DIR}/bitblas-targets.cmake\")
include(\"\${CMAKE_CURRENT_LIST_DIR}/bitblas-kernels.cmake\")
find_program(BITBLASC_EXECUTABLE bitblasc HINTS \"\${CMAKE_CURRENT_LIST_DIR}/${programs}\")
mark_as_advanced(BITBLASC_EXECUTABLE)
")
write_basic_package_version_file(${CMAKE_BINARY_DIR}/bitblas-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/bitblas-config.cmake ${CMAKE_BINARY_DIR}/bitblas-config-version.cmake
              ${CMAKE_SOURCE_DIR}/cmake/bitblas-kernels.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/bitblas COMPONENT library)
file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
file(WRITE ${CMAKE_BINARY_DIR}/bitblas.pc "prefix=\${pcfiledir}/${up}
Name: bitblas
Description: Tile-level GPU kernels, compiled at run time
Version: ${PROJECT_VERSION}
Cflags: -I\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}
Libs: -L\${prefix}/${CMAKE_INSTALL_LIBDIR} -lbitblas
Libs.private: -ljansson -lxxhash -lpthread -ldl -lm
")
install(FILES ${CMAKE_BINARY_DIR}/bitblas.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT library)
