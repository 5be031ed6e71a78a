// SPDX-License-Identifier: Apache-2.0
//
// Calls, loops, branches, integers, and what is refused.

#include "tests/unit/tile/TestProgram.h"

#include <gtest/gtest.h>

#include <limits>

using namespace tpac;

namespace {

using Values = std::vector<double>;

bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

constexpr int64_t smallest = std::numeric_limits<int64_t>::min();

/// The result of an arith op on two values of a type.
struct IntegerCase {
  std::string op;
  std::string type;
  int64_t a;
  int64_t b;
  int64_t result;
};

std::string integerProgram(const IntegerCase &test) {
  // Stores 1 where the result is as expected.
  std::string type = test.type;
  return "func.func @main(%out: memref<1xf64>, %a: " + type + ", %b: " + type + ", %expected: " + type + R"() {
    %r = )" +
         test.op + " %a, %b : " + type + R"(
    %equal = arith.cmpi eq, %r, %expected : )" +
         type + R"(
    %c0 = arith.constant 0 : index
    scf.if %equal {
      %one = tile.fill 1.0 : !tile.tile<d 1, f64>
      tile.store %one, %out[%c0] axes ["d"] : !tile.tile<d 1, f64> -> memref<1xf64>
    }
    return
  })";
}

} // namespace

TEST(Control, IntegerArithmetic) {
  std::vector<IntegerCase> cases = {
      {"arith.addi", "index", 5, -7, -2},
      {"arith.addi", "i32", 2147483647, 1, -2147483648LL},
      {"arith.subi", "i32", -2147483648LL, 1, 2147483647},
      {"arith.muli", "index", -6, 7, -42},
      {"arith.muli", "i32", 65536, 65536, 0},
      {"arith.divsi", "index", -7, 2, -3},
      {"arith.divui", "index", -1, 2, std::numeric_limits<int64_t>::max()},
      {"arith.divui", "i32", -1, 2, 2147483647},
      {"arith.ceildivsi", "index", 7, 2, 4},
      {"arith.ceildivsi", "index", -7, 2, -3},
      {"arith.floordivsi", "index", -7, 2, -4},
      {"arith.floordivsi", "i32", 7, 2, 3},
      {"arith.remsi", "index", -7, 2, -1},
      {"arith.remui", "i32", -1, 16, 15},
      {"arith.minsi", "index", -1, 3, -1},
      {"arith.maxsi", "index", -1, 3, 3},
      {"arith.minui", "index", -1, 3, 3},
      {"arith.maxui", "i32", -1, 3, -1},
      {"arith.andi", "i32", 12, 10, 8},
      {"arith.ori", "i32", 12, 10, 14},
      {"arith.xori", "i32", 12, 10, 6},
  };
  for (const IntegerCase &test : cases) {
    TestMemory out(ElementType::f64, {1});
    ASSERT_EQ(runProgram(integerProgram(test), {out.view(), test.a, test.b, test.result}), "");
    EXPECT_EQ(out.values(), Values{1.0}) << test.op << " on " << test.type << ": " << test.a << ", " << test.b;
    // The comparison is one that can fail.
    TestMemory other(ElementType::f64, {1});
    ASSERT_EQ(runProgram(integerProgram(test), {other.view(), test.a, test.b, test.result ^ 1}), "");
    EXPECT_EQ(other.values(), Values{0.0}) << test.op;
  }
}

TEST(Control, DivisionsWithoutResult) {
  TestMemory out(ElementType::f64, {1});
  for (std::string op : {"divsi", "divui", "remsi", "remui", "ceildivsi", "floordivsi"}) {
    std::string error = runProgram(integerProgram({"arith." + op, "index", 3, 0, 0}), {out.view(), 3, 0, 0});
    EXPECT_TRUE(contains(error, "arith." + op + ": 3 divided by 0 has no result")) << error;
  }
  std::string error = runProgram(integerProgram({"arith.divsi", "index", 0, 0, 0}), {out.view(), smallest, -1, 0});
  EXPECT_TRUE(contains(error, "divided by -1 has no result")) << error;
}

TEST(Control, Comparisons) {
  // One element per predicate: 1 where -1 compared with 2 holds.
  std::vector<std::pair<std::string, double>> predicates = {{"eq", 0},  {"ne", 1},  {"slt", 1}, {"sle", 1}, {"sgt", 0},
                                                            {"sge", 0}, {"ult", 0}, {"ule", 0}, {"ugt", 1}, {"uge", 1}};
  for (auto [predicate, expected] : predicates) {
    std::string program = R"(
      func.func @main(%out: memref<1xf64>, %a: i32, %b: i32) {
        %holds = arith.cmpi )" +
                          predicate + R"(, %a, %b : i32
        %zero = tile.fill 0.0 : !tile.tile<d 1, f64>
        %one = tile.fill 1.0 : !tile.tile<d 1, f64>
        %x = arith.select %holds, %one, %zero : !tile.tile<d 1, f64>
        %c0 = arith.constant 0 : index
        tile.store %x, %out[%c0] axes ["d"] : !tile.tile<d 1, f64> -> memref<1xf64>
        return
      })";
    TestMemory out(ElementType::f64, {1}, 7.0);
    ASSERT_EQ(runProgram(program, {out.view(), -1, 2}), "");
    EXPECT_EQ(out.values(), Values{expected}) << predicate;
  }
}

TEST(Control, LoopsCarryTilesIndicesAndNumbers) {
  // Adds the elements lower, lower + step, .. below upper; the index counts iterations and is where the sum is stored.
  std::string program = R"(
    func.func @main(%in: memref<?xf64>, %out: memref<?xf64>, %lower: index, %upper: index, %step: index) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %f = arith.constant 2.5 : f32
      %zero = tile.fill 0.0 : !tile.tile<d 1, f64>
      %r:3 = scf.for %i = %lower to %upper step %step iter_args(%s = %zero, %n = %c0, %x = %f)
          -> (!tile.tile<d 1, f64>, index, f32) {
        %v = tile.load %in[%i] axes ["d"] : memref<?xf64> -> !tile.tile<d 1, f64>
        %t = tile.add %s, %v : !tile.tile<d 1, f64>, !tile.tile<d 1, f64> -> !tile.tile<d 1, f64>
        %n1 = arith.addi %n, %c1 : index
        scf.yield %t, %n1, %x : !tile.tile<d 1, f64>, index, f32
      }
      tile.store %r#0, %out[%r#1] axes ["d"] : !tile.tile<d 1, f64> -> memref<?xf64>
      return
    })";
  TestMemory in(ElementType::f64, {5}, {1, 10, 100, 1000, 10000});
  TestMemory out(ElementType::f64, {4}, 7.0);
  ASSERT_EQ(runProgram(program, {in.view(), out.view(), 0, 5, 2}), "");
  EXPECT_EQ(out.values(), (Values{7, 7, 7, 10101}));
  ASSERT_EQ(runProgram(program, {in.view(), out.view(), 3, 3, 1}), "");
  EXPECT_EQ(out.values(), (Values{0, 7, 7, 10101}));
  std::string error = runProgram(program, {in.view(), out.view(), 0, 5, 0});
  EXPECT_TRUE(contains(error, "scf.for: expected a step >= 1, got 0")) << error;
  error = runProgram(program, {in.view(), out.view(), 0, 6, 1});
  EXPECT_TRUE(contains(error, "tile.load: out of bounds: dimension 0 has elements 0 to 4, accessed are 5 to 5"))
      << error;
}

TEST(Control, BranchesGiveResults) {
  std::string program = R"(
    func.func @main(%out: memref<1xf64>, %a: index, %b: index) {
      %c0 = arith.constant 0 : index
      %less = arith.cmpi slt, %a, %b : index
      %x = scf.if %less -> (!tile.tile<d 1, f64>) {
        %one = tile.fill 1.0 : !tile.tile<d 1, f64>
        scf.yield %one : !tile.tile<d 1, f64>
      } else {
        %two = tile.fill 2.0 : !tile.tile<d 1, f64>
        scf.yield %two : !tile.tile<d 1, f64>
      }
      tile.store %x, %out[%c0] axes ["d"] : !tile.tile<d 1, f64> -> memref<1xf64>
      return
    })";
  TestMemory out(ElementType::f64, {1});
  ASSERT_EQ(runProgram(program, {out.view(), 1, 2}), "");
  EXPECT_EQ(out.values(), Values{1});
  ASSERT_EQ(runProgram(program, {out.view(), 2, 2}), "");
  EXPECT_EQ(out.values(), Values{2});
}

TEST(Control, CallsPassAndReturnTilesAndMemory) {
  std::string program = R"(
    func.func private @square(%x: !tile.tile<d 2, f64>) -> !tile.tile<d 2, f64> {
      %y = tile.mul %x, %x : !tile.tile<d 2, f64>, !tile.tile<d 2, f64> -> !tile.tile<d 2, f64>
      return %y : !tile.tile<d 2, f64>
    }
    func.func private @step(%in: memref<?xf64>, %i: index) -> (!tile.tile<d 2, f64>, index) {
      %c1 = arith.constant 1 : index
      %x = tile.load %in[%i] axes ["d"] : memref<?xf64> -> !tile.tile<d 2, f64>
      %y = func.call @square(%x) : (!tile.tile<d 2, f64>) -> !tile.tile<d 2, f64>
      %z = func.call @square(%y) : (!tile.tile<d 2, f64>) -> !tile.tile<d 2, f64>
      %j = arith.addi %i, %c1 : index
      return %z, %j : !tile.tile<d 2, f64>, index
    }
    func.func @main(%in: memref<?xf64>, %i: index, %out: memref<?xf64>) {
      %x, %j = call @step(%in, %i) : (memref<?xf64>, index) -> (!tile.tile<d 2, f64>, index)
      tile.store %x, %out[%j] axes ["d"] : !tile.tile<d 2, f64> -> memref<?xf64>
      return
    })";
  TestMemory in(ElementType::f64, {3}, {9, 2, 3});
  TestMemory out(ElementType::f64, {4});
  ASSERT_EQ(runProgram(program, {in.view(), 1, out.view()}), "");
  EXPECT_EQ(out.values(), (Values{0, 0, 16, 81}));
}

TEST(Control, ArgumentsMustFit) {
  std::string program = "func.func @main(%a: memref<?x2xf32>, %n: i32) { return }";
  TestMemory memory(ElementType::f32, {3, 2});
  auto expectError = [&](std::vector<InterpreterArgument> arguments, const std::string &message) {
    std::string error = runProgram(program, std::move(arguments));
    EXPECT_TRUE(contains(error, message)) << error;
  };
  EXPECT_EQ(runProgram(program, {memory.view(), 5}), "");
  expectError({memory.view()}, "@main: expected 2 arguments, got 1");
  expectError({5, 5}, "@main: argument 0: expected memory, got a number");
  expectError({memory.view(), memory.view()}, "@main: argument 1: expected a number, got memory");
  expectError({memory.view(), int64_t(1) << 31}, "@main: argument 1: expected a number of 32 bits, got 2147483648");
  TestMemory other(ElementType::f64, {3, 2});
  expectError({other.view(), 5}, "argument 0: expected memory of type memref<?x2xf32>, got elements of type f64");
  TestMemory wide(ElementType::f32, {3, 3});
  expectError({wide.view(), 5}, "argument 0: expected memory of type memref<?x2xf32>, got size 3 in dimension 1");
  TestMemory flat(ElementType::f32, {6});
  expectError({flat.view(), 5}, "argument 0: expected memory of type memref<?x2xf32>, got 1 sizes and 1 strides");
}

TEST(Control, UnsupportedOpsAreNamed) {
  auto expectError = [](const std::string &body, const std::string &message) {
    std::string error = runProgram("func.func @main() { " + body + " return }\nfunc.func private @declared()", {});
    EXPECT_TRUE(contains(error, message)) << error;
  };
  expectError("%x = arith.constant 1.0 : f32 %y = arith.addf %x, %x : f32",
              "arith.addf: the tile interpreter does not support this op\n  in %0 = arith.addf");
  expectError("%x = arith.constant 1.0 : f32 %y = math.exp %x : f32",
              "math.exp: the tile interpreter does not support");
  expectError("%x = arith.constant 1 : i32 %y = arith.shli %x, %x : i32",
              "arith.shli: the tile interpreter does not support");
  expectError("%x = arith.constant dense<1> : vector<2xi32>", "arith.constant: expected a number");
  expectError("%x = tile.fill 1.0 : !tile.tile<d 2, i1>", "tile.fill: element type cannot be interpreted");
  expectError("%x = memref.alloc() : memref<2xi64>", "memref.alloc: expected a plain memref");
  expectError("func.call @declared() : () -> ()", "func.func: expected a body of one block");
  EXPECT_EQ(runProgram("func.func @other() { return }", {}), "no function @main");
}
