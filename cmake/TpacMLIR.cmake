# SPDX-License-Identifier: Apache-2.0
# Finds MLIR 22.1 and defines how targets link it:
#
#   tpac_link_mlir(TARGET [COMPONENT...])
#
# links TARGET against libMLIR.so and libLLVM.so, and nothing else of MLIR: a static MLIR library beside the shared one
# would put two copies of every registry into the program. With TPAC_STATIC it links the static libraries COMPONENT...
# instead, or those of TpacStaticMLIR.cmake where none is named.

set(MLIR_LINK_MLIR_DYLIB ON)
find_package(MLIR 22.1 REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/mlir)
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
# Not HandleLLVMOptions: it switches exceptions off, and we use them.
include(TableGen)
include(AddLLVM)
include(AddMLIR)

separate_arguments(TPAC_LLVM_DEFINITIONS NATIVE_COMMAND "${LLVM_DEFINITIONS}")
add_definitions(${TPAC_LLVM_DEFINITIONS})
include_directories(SYSTEM ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})

if(TPAC_STATIC)
  include(TpacStaticMLIR)
endif()

function(tpac_link_mlir target)
  if(NOT TPAC_STATIC)
    target_link_libraries(${target} PUBLIC MLIR LLVM)
    return()
  endif()
  if(ARGN)
    target_link_libraries(${target} PUBLIC ${ARGN} tpac_static_llvm)
  else()
    target_link_libraries(${target} PUBLIC ${TPAC_STATIC_MLIR} tpac_static_llvm)
  endif()
endfunction()
