// SPDX-License-Identifier: Apache-2.0
//
// The reference path as pipelines.

#include "lowering/reference/Passes.h"

#include "mlir/Conversion/AffineToStandard/AffineToStandard.h"
#include "mlir/Conversion/ConvertToLLVM/ToLLVMPass.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Pipelines/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void tpa::buildReferenceTensorPipeline(OpPassManager &passes) {
  passes.addPass(createDecomposePhases());
  passes.addPass(createToLinalg());
  // Products of scales are arith ops on tensors.
  passes.addPass(createConvertElementwiseToLinalgPass());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
}

void tpa::addLlvmConversion(OpPassManager &passes) {
  // bf16 conversions as integer arithmetic: targets without the instructions would call a library.
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = true;
  passes.addPass(arith::createArithExpandOpsPass(expand));
  passes.addPass(memref::createExpandStridedMetadataPass());
  passes.addPass(createLowerAffinePass());
  passes.addPass(createSCFToControlFlowPass());
  passes.addPass(createConvertToLLVMPass());
  passes.addPass(createReconcileUnrealizedCastsPass());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
}

void tpa::buildHostPipeline(OpPassManager &passes) {
  bufferization::OneShotBufferizePassOptions bufferize;
  bufferize.bufferizeFunctionBoundaries = true;
  passes.addPass(bufferization::createOneShotBufferizePass(bufferize));
  // Loops that carry a destination fold to it; then results are dropped, since the caller has the destinations.
  passes.addPass(createCanonicalizerPass());
  passes.addPass(bufferization::createDropEquivalentBufferResultsPass());
  bufferization::BufferDeallocationPipelineOptions deallocation;
  bufferization::buildBufferDeallocationPipeline(passes, deallocation);

  passes.addNestedPass<func::FuncOp>(createCopiesToLinalg());
  passes.addNestedPass<func::FuncOp>(createConvertLinalgToLoopsPass());
  passes.addPass(createLowerAffinePass());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  addLlvmConversion(passes);
}

void tpa::registerReferencePipelines() {
  PassPipelineRegistration<>("tpa-reference-tensors", "tpa ops to linalg and scf on tensors",
                             buildReferenceTensorPipeline);
  PassPipelineRegistration<>("tpa-host", "linalg and scf on tensors to the LLVM dialect", buildHostPipeline);
}
