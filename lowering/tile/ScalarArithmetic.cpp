// SPDX-License-Identifier: Apache-2.0

#include "lowering/tile/ScalarArithmetic.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using llvm::APInt;

unsigned tpac::integerWidth(Type type) {
  if (isa<IndexType>(type))
    return 64;
  auto integer = dyn_cast<IntegerType>(type);
  return integer && integer.getWidth() <= 64 ? integer.getWidth() : 0;
}

llvm::Expected<std::optional<int64_t>> tpac::evaluateInteger(Operation *op, ArrayRef<int64_t> operands) {
  if (isa<arith::IndexCastOp>(op))
    return llvm::SignExtend64(operands[0], integerWidth(op->getResult(0).getType()));
  if (isa<arith::SelectOp>(op))
    return operands[0] ? operands[1] : operands[2];
  if (operands.size() != 2)
    return std::nullopt;
  unsigned width = integerWidth(op->getOperand(0).getType());
  APInt a(width, operands[0], /*isSigned=*/true);
  APInt b(width, operands[1], /*isSigned=*/true);
  bool isSigned = isa<arith::DivSIOp, arith::RemSIOp, arith::CeilDivSIOp, arith::FloorDivSIOp>(op);
  if (isSigned || isa<arith::DivUIOp, arith::RemUIOp>(op))
    if (b.isZero() || (isSigned && a.isMinSignedValue() && b.isAllOnes()))
      return llvm::createStringError(llvm::formatv("{0} divided by {1} has no result", operands[0], operands[1]));
  using Result = std::optional<APInt>;
  Result result =
      llvm::TypeSwitch<Operation *, Result>(op)
          .Case([&](arith::AddIOp) { return a + b; })
          .Case([&](arith::SubIOp) { return a - b; })
          .Case([&](arith::MulIOp) { return a * b; })
          .Case([&](arith::DivSIOp) { return a.sdiv(b); })
          .Case([&](arith::DivUIOp) { return a.udiv(b); })
          .Case([&](arith::CeilDivSIOp) { return llvm::APIntOps::RoundingSDiv(a, b, APInt::Rounding::UP); })
          .Case([&](arith::FloorDivSIOp) { return llvm::APIntOps::RoundingSDiv(a, b, APInt::Rounding::DOWN); })
          .Case([&](arith::RemSIOp) { return a.srem(b); })
          .Case([&](arith::RemUIOp) { return a.urem(b); })
          .Case([&](arith::MinSIOp) { return llvm::APIntOps::smin(a, b); })
          .Case([&](arith::MaxSIOp) { return llvm::APIntOps::smax(a, b); })
          .Case([&](arith::MinUIOp) { return llvm::APIntOps::umin(a, b); })
          .Case([&](arith::MaxUIOp) { return llvm::APIntOps::umax(a, b); })
          .Case([&](arith::AndIOp) { return a & b; })
          .Case([&](arith::OrIOp) { return a | b; })
          .Case([&](arith::XOrIOp) { return a ^ b; })
          .Case([&](arith::CmpIOp compare) { return APInt(1, arith::applyCmpPredicate(compare.getPredicate(), a, b)); })
          .Default([](Operation *) { return Result(); });
  if (!result)
    return std::nullopt;
  return result->getSExtValue();
}
