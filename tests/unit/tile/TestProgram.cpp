// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/tile/TestProgram.h"

#include "lowering/tile/ElementConversion.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"

#include <stdexcept>

using namespace tpac;

static int64_t count(const std::vector<int64_t> &shape) {
  int64_t result = 1;
  for (int64_t size : shape)
    result *= size;
  return result;
}

TestMemory::TestMemory(ElementType type, std::vector<int64_t> shape, double fill)
    : TestMemory(type, shape, std::vector<double>(count(shape), fill)) {}

TestMemory::TestMemory(ElementType type, std::vector<int64_t> shape, std::span<const double> values)
    : type(type), shape(std::move(shape)), bytes(values.size() * elementSize(type)) {
  if (static_cast<int64_t>(values.size()) != count(this->shape))
    throw std::logic_error("as many values as elements are needed");
  for (size_t i = 0; i < values.size(); ++i)
    writeElement(type, view().at(i), values[i]);
}

std::vector<double> TestMemory::values() const {
  std::vector<double> result;
  for (int64_t i = 0; i < count(shape); ++i)
    result.push_back(readElement(type, view().at(i)));
  return result;
}

std::string runProgram(const std::string &program, std::vector<InterpreterArgument> arguments, Arithmetic arithmetic) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<mlir::arith::ArithDialect, mlir::func::FuncDialect, mlir::math::MathDialect,
                      mlir::memref::MemRefDialect, mlir::scf::SCFDialect, mlir::tpa::TPADialect,
                      mlir::tpa::tile::TileDialect>();
  std::string diagnostics;
  mlir::ScopedDiagnosticHandler collect(&context, [&](mlir::Diagnostic &diagnostic) {
    diagnostics += diagnostic.str() + '\n';
    return mlir::success();
  });
  auto module = mlir::parseSourceString<mlir::ModuleOp>(program, &context);
  if (!module)
    throw std::runtime_error("the program does not parse:\n" + diagnostics);
  llvm::Error error = interpret(*module, "main", arguments, arithmetic);
  return error ? llvm::toString(std::move(error)) : std::string();
}
