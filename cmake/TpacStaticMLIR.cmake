# SPDX-License-Identifier: Apache-2.0
# The static MLIR and LLVM libraries of portable tools (TPAC_STATIC): defines TPAC_STATIC_MLIR, the MLIR libraries our
# libraries and tools use, and tpac_static_llvm, the LLVM ones. Only libc and libm stay shared.

# Debian's MLIR archives name "LLVM", the shared library, as what they need. Linked as they are, they bring a second
# LLVM into the program, which then aborts in the duplicate registries. So the shared libraries are taken out of the
# interfaces of all MLIR archives, and the LLVM archives put in.
llvm_map_components_to_libnames(components
  core support analysis bitreader bitwriter codegen executionengine irreader jitlink linker native orcjit passes
  perfjitevents targetparser transformutils frontendopenmp frontendoffloading supportlsp)
add_library(tpac_static_llvm INTERFACE)
target_link_libraries(tpac_static_llvm INTERFACE ${components})

get_property(mlir_libraries GLOBAL PROPERTY MLIR_ALL_LIBS)
foreach(library ${mlir_libraries})
  if(TARGET ${library})
    get_target_property(interface ${library} INTERFACE_LINK_LIBRARIES)
    if(interface)
      list(TRANSFORM interface REPLACE "^LLVM$" tpac_static_llvm)
      list(REMOVE_ITEM interface MLIR)
      set_target_properties(${library} PROPERTIES INTERFACE_LINK_LIBRARIES "${interface}")
    endif()
  endif()
endforeach()

find_library(TPAC_STATIC_ZSTD libzstd.a REQUIRED)
find_library(TPAC_STATIC_ZLIB libz.a REQUIRED)
get_target_property(interface LLVMSupport INTERFACE_LINK_LIBRARIES)
list(TRANSFORM interface REPLACE "^zstd::libzstd_shared$" ${TPAC_STATIC_ZSTD})
list(TRANSFORM interface REPLACE "^ZLIB::ZLIB$" ${TPAC_STATIC_ZLIB})
set_target_properties(LLVMSupport PROPERTIES INTERFACE_LINK_LIBRARIES "${interface}")

add_compile_options(-ffunction-sections -fdata-sections)
add_link_options(-static-libstdc++ -static-libgcc -Wl,--gc-sections -Wl,--as-needed)

set(TPAC_STATIC_MLIR
  # Dialects.
  MLIRAffineDialect MLIRArithDialect MLIRBufferizationDialect MLIRControlFlowDialect MLIRFuncDialect MLIRIndexDialect
  MLIRLinalgDialect MLIRLLVMDialect MLIRMathDialect MLIRMemRefDialect MLIRSCFDialect MLIRTensorDialect MLIRUBDialect
  MLIRVectorDialect
  # Transformations.
  MLIRAffineTransforms MLIRArithTransforms MLIRBufferizationPipelines MLIRBufferizationTransforms
  MLIRControlFlowTransforms MLIRFuncTransforms MLIRLinalgTransforms MLIRMathTransforms MLIRMemRefTransforms MLIRPass
  MLIRSCFTransforms MLIRSCFUtils MLIRTensorTransforms MLIRTensorInferTypeOpInterfaceImpl MLIRTransforms
  MLIRTransformUtils MLIRVectorTransforms
  # Conversions.
  MLIRAffineToStandard MLIRArithToLLVM MLIRBufferizationToMemRef MLIRControlFlowToLLVM MLIRConvertToLLVMPass
  MLIRFuncToLLVM MLIRIndexToLLVM MLIRLinalgToStandard MLIRMathToLibm MLIRMathToLLVM MLIRMemRefToLLVM
  MLIRReconcileUnrealizedCasts MLIRSCFToControlFlow MLIRUBToLLVM MLIRVectorToLLVM MLIRVectorToLLVMPass MLIRVectorToSCF
  # Translation, execution, tools.
  MLIRBuiltinToLLVMIRTranslation MLIRExecutionEngine MLIRExecutionEngineUtils MLIRLLVMIRTransforms
  MLIRLLVMToLLVMIRTranslation MLIRLspServerLib MLIROptLib MLIRParser MLIRTargetLLVMIRExport)
