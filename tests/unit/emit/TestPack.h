// SPDX-License-Identifier: Apache-2.0
//
// A small hand-written pack: an append that copies and a merge that adds. Its kernels are not attention: what is tested
// is everything around them.

#ifndef TPAC_TESTS_UNIT_EMIT_TESTPACK_H
#define TPAC_TESTS_UNIT_EMIT_TESTPACK_H

#include "lowering/emit/Pack.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

#include <filesystem>
#include <string>

namespace tpac::test {

/// Variant "test-pack.1" with 3 heads and rank 2. append: k_head bf16 [tokens, 2, 3], token_start, lengths,
/// k_head_cache bf16 [batch, capacity, 2, 3]. merge: out0, out1, out f32 [tokens, 3], lse0, lse f32 [tokens].
Pack testPack();

/// The phases of testPack() in the LLVM dialect: append copies rows to their slots; merge sets out = out0 + out1 and
/// lse = tanhf(lse0), which needs libm.
mlir::OwningOpRef<mlir::ModuleOp> testModule(mlir::MLIRContext &context);

/// An LLVM dialect module from text with func, memref, arith and scf. Aborts the test program where that fails.
mlir::OwningOpRef<mlir::ModuleOp> lowerToLlvmDialect(mlir::MLIRContext &context, const std::string &text);

/// writePack of `module` for each of `targets`: the message of its error, "" where there is none.
std::string writePackFor(mlir::ModuleOp module, const Pack &pack, const std::vector<std::string> &targets,
                         const std::filesystem::path &path);

/// A fresh directory, removed with everything in it at the end of its scope.
class TemporaryDirectory {
public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory &) = delete;
  TemporaryDirectory &operator=(const TemporaryDirectory &) = delete;
  const std::filesystem::path &path() const { return directory; }

private:
  std::filesystem::path directory;
};

/// Runs a shell command; its exit code, and what it printed to both streams.
int runCommand(const std::string &command, std::string &output);

std::string readText(const std::filesystem::path &path);
void writeText(const std::filesystem::path &path, const std::string &text);

} // namespace tpac::test

#endif // TPAC_TESTS_UNIT_EMIT_TESTPACK_H
