# SPDX-License-Identifier: Apache-2.0
# Compiler options of our own code, and the functions with which the folders define their targets:
#
#   tpac_add_library(NAME SOURCE... [LINK LIBRARY...] [DEPENDS TARGET...])     a static library
#   tpac_add_executable(NAME SOURCE... [LINK LIBRARY...] [DEPENDS TARGET...])  a program in bin/
#   tpac_add_gtest(NAME SOURCE... [LINK LIBRARY...] [DEPENDS TARGET...])       a GoogleTest program in bin/tests/;
#                                                                              NAME must end in Tests
#   tpac_add_benchmark(NAME SOURCE... [LINK LIBRARY...] [DEPENDS TARGET...])   a Google Benchmark program in bin/bench/
#
# LINK is public for libraries. DEPENDS names targets that generate headers (tablegen). MLIR is linked with
# tpac_link_mlir (TpacMLIR.cmake).

include_directories(${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})

# Unused parameters are normal in MLIR's interfaces and in the code that mlir-tblgen writes.
set(TPAC_COMPILE_OPTIONS -Wall -Wextra -Wno-unused-parameter)
if(TPAC_WERROR)
  list(APPEND TPAC_COMPILE_OPTIONS -Werror)
endif()
if(TPAC_SANITIZE)
  list(APPEND TPAC_COMPILE_OPTIONS -fsanitize=${TPAC_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${TPAC_SANITIZE})
endif()

function(tpac_configure_target name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINK;DEPENDS")
  target_compile_options(${name} PRIVATE ${TPAC_COMPILE_OPTIONS})
  if(arg_LINK)
    target_link_libraries(${name} PUBLIC ${arg_LINK})
  endif()
  if(arg_DEPENDS)
    add_dependencies(${name} ${arg_DEPENDS})
  endif()
endfunction()

function(tpac_add_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINK;DEPENDS")
  add_library(${name} STATIC ${arg_UNPARSED_ARGUMENTS})
  tpac_configure_target(${name} LINK ${arg_LINK} DEPENDS ${arg_DEPENDS})
endfunction()

function(tpac_add_executable name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINK;DEPENDS")
  add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
  tpac_configure_target(${name} LINK ${arg_LINK} DEPENDS ${arg_DEPENDS})
endfunction()

function(tpac_add_gtest name)
  if(NOT name MATCHES "Tests$")
    message(FATAL_ERROR "tpac_add_gtest: '${name}' must end in 'Tests': tests/run.py finds test programs by that ending")
  endif()
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINK;DEPENDS")
  add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
  tpac_configure_target(${name} LINK ${arg_LINK} GTest::gtest GTest::gtest_main DEPENDS ${arg_DEPENDS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/tests)
  # Tests find configs/ and other files of the repository from here.
  target_compile_definitions(${name} PRIVATE TPAC_SOURCE_ROOT="${CMAKE_SOURCE_DIR}")
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST)
endfunction()

function(tpac_add_benchmark name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINK;DEPENDS")
  add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
  tpac_configure_target(${name} LINK ${arg_LINK} benchmark::benchmark DEPENDS ${arg_DEPENDS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/bench)
  target_compile_definitions(${name} PRIVATE TPAC_SOURCE_ROOT="${CMAKE_SOURCE_DIR}")
endfunction()
