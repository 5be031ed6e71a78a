// SPDX-License-Identifier: Apache-2.0
//
// The CPU target as a pipeline.

#include "lowering/cpu/Passes.h"

#include "lowering/reference/Passes.h"
#include "lowering/tile/TileDialect.h"

#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/AMX/Transforms.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void tpa::buildCpuPipeline(OpPassManager &passes, const tpac::CpuTraits &cpu) {
  passes.addNestedPass<func::FuncOp>(createTileLayouts({cpu.lanes}));
  passes.addNestedPass<func::FuncOp>(createTilesToCpu({cpu.lanes, cpu.registers, cpu.amx, cpu.avx512}));
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  addLlvmConversion(passes);
  passes.addPass(createTileMemory());
}

namespace {

struct PipelineOptions : PassPipelineOptions<PipelineOptions> {
  Option<int64_t> lanes{*this, "lanes", llvm::cl::desc("f32 elements per vector"), llvm::cl::init(16)};
  Option<int64_t> registers{*this, "registers", llvm::cl::desc("vector registers"), llvm::cl::init(32)};
  Option<bool> amx{*this, "amx", llvm::cl::desc("AMX tiles for bf16 operands"), llvm::cl::init(false)};
  Option<bool> avx512{*this, "avx512", llvm::cl::desc("AVX-512 instructions"), llvm::cl::init(false)};
};

} // namespace

void tpa::registerCpuPipelines() {
  PassPipelineRegistration<PipelineOptions>(
      "tpa-cpu", "tile programs to the LLVM dialect, for a CPU",
      [](OpPassManager &passes, const PipelineOptions &options) {
        buildCpuPipeline(passes, {options.lanes, options.registers, options.amx, options.avx512});
      });
}

void tpa::registerCpuDialects(DialectRegistry &registry) {
  registry.insert<amx::AMXDialect, tile::TileDialect, vector::VectorDialect>();
  registerConvertAMXToLLVMInterface(registry);
  vector::registerConvertVectorToLLVMInterface(registry);
}
