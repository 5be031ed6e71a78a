// SPDX-License-Identifier: Apache-2.0
//
// The test pack's variant, signatures and kernels, and small file helpers.

#include "tests/unit/emit/TestPack.h"

#include "lowering/emit/PackWriter.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVMPass.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

namespace tpac::test {

namespace {

constexpr const char *variantJson = R"({
  "tpac_variant": 1, "name": "test-pack.1", "heads": 5, "head_range": [1, 4],
  "q": {"dense": 8},
  "k": {"rank": 2, "head": {"source": "contextual"},
        "token": [{"source": "learned", "size": 4}, {"source": "learned", "size": 2}]},
  "v": {"rank": 5, "head": {"source": "fixed", "map": "one_hot"}, "token": [{"source": "learned", "size": 7}]},
  "rope": {"d_rot": 4, "base": 5000.0}
})";

constexpr const char *kernels = R"mlir(
func.func private @tanhf(f32) -> f32

func.func @append(%head: memref<?x2x3xbf16, strided<[?, ?, ?], offset: ?>>,
                  %start: memref<?xi32, strided<[?], offset: ?>>, %lengths: memref<?xi32, strided<[?], offset: ?>>,
                  %cache: memref<?x?x2x3xbf16, strided<[?, ?, ?, ?], offset: ?>>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c3 = arith.constant 3 : index
  %batch = memref.dim %lengths, %c0 : memref<?xi32, strided<[?], offset: ?>>
  scf.for %b = %c0 to %batch step %c1 {
    %next = arith.addi %b, %c1 : index
    %first32 = memref.load %start[%b] : memref<?xi32, strided<[?], offset: ?>>
    %last32 = memref.load %start[%next] : memref<?xi32, strided<[?], offset: ?>>
    %length32 = memref.load %lengths[%b] : memref<?xi32, strided<[?], offset: ?>>
    %first = arith.index_cast %first32 : i32 to index
    %last = arith.index_cast %last32 : i32 to index
    %length = arith.index_cast %length32 : i32 to index
    scf.for %t = %first to %last step %c1 {
      %new = arith.subi %t, %first : index
      %slot = arith.addi %length, %new : index
      scf.for %r = %c0 to %c2 step %c1 {
        scf.for %h = %c0 to %c3 step %c1 {
          %x = memref.load %head[%t, %r, %h] : memref<?x2x3xbf16, strided<[?, ?, ?], offset: ?>>
          memref.store %x, %cache[%b, %slot, %r, %h] : memref<?x?x2x3xbf16, strided<[?, ?, ?, ?], offset: ?>>
        }
      }
    }
  }
  return
}

func.func @merge(%out0: memref<?x3xf32, strided<[?, ?], offset: ?>>, %lse0: memref<?xf32, strided<[?], offset: ?>>,
                 %out1: memref<?x3xf32, strided<[?, ?], offset: ?>>,
                 %out: memref<?x3xf32, strided<[?, ?], offset: ?>>, %lse: memref<?xf32, strided<[?], offset: ?>>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %tokens = memref.dim %out, %c0 : memref<?x3xf32, strided<[?, ?], offset: ?>>
  scf.for %t = %c0 to %tokens step %c1 {
    scf.for %h = %c0 to %c3 step %c1 {
      %a = memref.load %out0[%t, %h] : memref<?x3xf32, strided<[?, ?], offset: ?>>
      %b = memref.load %out1[%t, %h] : memref<?x3xf32, strided<[?, ?], offset: ?>>
      %sum = arith.addf %a, %b : f32
      memref.store %sum, %out[%t, %h] : memref<?x3xf32, strided<[?, ?], offset: ?>>
    }
    %l = memref.load %lse0[%t] : memref<?xf32, strided<[?], offset: ?>>
    %tanh = func.call @tanhf(%l) : (f32) -> f32
    memref.store %tanh, %lse[%t] : memref<?xf32, strided<[?], offset: ?>>
  }
  return
}
)mlir";

} // namespace

Pack testPack() {
  const Dimension tokens{"tokens", 0}, batch{"batch", 0}, capacity{"capacity", 0};
  PhaseSignature append{
      Phase::append,
      {"tokens", "batch", "capacity"},
      {{"k_head", ElementType::bf16, {tokens, {"", 2}, {"", 3}}, Access::in, "head factor of K"},
       {"token_start", ElementType::i32, {{"batch", 1}}, Access::in, "first token of each request, then tokens"},
       {"lengths", ElementType::i32, {batch}, Access::in, "tokens in the cache before the append"},
       {"k_head_cache", ElementType::bf16, {batch, capacity, {"", 2}, {"", 3}}, Access::inout, "cached /* factor */"}}};
  PhaseSignature merge{Phase::merge,
                       {"tokens"},
                       {{"out0", ElementType::f32, {tokens, {"", 3}}, Access::in, ""},
                        {"lse0", ElementType::f32, {tokens}, Access::in, ""},
                        {"out1", ElementType::f32, {tokens, {"", 3}}, Access::in, ""},
                        {"out", ElementType::f32, {tokens, {"", 3}}, Access::out, ""},
                        {"lse", ElementType::f32, {tokens}, Access::out, ""}}};
  return {"test-pack.1", variantJson, {append, merge}, {"host"}, {{Phase::append, "host", "heuristic", "#a"}}};
}

mlir::OwningOpRef<mlir::ModuleOp> lowerToLlvmDialect(mlir::MLIRContext &context, const std::string &text) {
  context.loadDialect<mlir::arith::ArithDialect, mlir::cf::ControlFlowDialect, mlir::func::FuncDialect,
                      mlir::LLVM::LLVMDialect, mlir::memref::MemRefDialect, mlir::scf::SCFDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  mlir::PassManager passes(&context);
  passes.addPass(mlir::createSCFToControlFlowPass());
  passes.addPass(mlir::createConvertControlFlowToLLVMPass());
  passes.addPass(mlir::createArithToLLVMConversionPass());
  passes.addPass(mlir::createFinalizeMemRefToLLVMConversionPass());
  passes.addPass(mlir::createConvertFuncToLLVMPass());
  passes.addPass(mlir::createReconcileUnrealizedCastsPass());
  if (!module || mlir::failed(passes.run(*module))) {
    std::cerr << "the test's own kernels do not compile\n";
    std::abort();
  }
  return module;
}

mlir::OwningOpRef<mlir::ModuleOp> testModule(mlir::MLIRContext &context) {
  return lowerToLlvmDialect(context, kernels);
}

std::string writePackFor(mlir::ModuleOp module, const Pack &pack, const std::vector<std::string> &targets,
                         const std::filesystem::path &path) {
  auto found = findPackTargets(targets);
  if (!found)
    return llvm::toString(found.takeError());
  std::vector<TargetModule> levels;
  for (const CodeTarget &target : *found)
    levels.push_back({module, target});
  llvm::Error error = writePack(levels, pack, path.string());
  return error ? llvm::toString(std::move(error)) : "";
}

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "tpac-emit-XXXXXX").string();
  if (!mkdtemp(pattern.data())) {
    std::cerr << "no temporary directory\n";
    std::abort();
  }
  directory = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
}

int runCommand(const std::string &command, std::string &output) {
  output.clear();
  FILE *pipe = popen((command + " 2>&1").c_str(), "r");
  if (!pipe)
    return -1;
  char buffer[4096];
  while (size_t count = fread(buffer, 1, sizeof buffer, pipe))
    output.append(buffer, count);
  const int status = pclose(pipe);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string readText(const std::filesystem::path &path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

void writeText(const std::filesystem::path &path, const std::string &text) {
  std::ofstream stream(path, std::ios::binary);
  stream << text;
}

} // namespace tpac::test
