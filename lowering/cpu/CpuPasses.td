// SPDX-License-Identifier: Apache-2.0
//
// Passes of the CPU target.

#ifndef TPAC_LOWERING_CPU_CPUPASSES_TD
#define TPAC_LOWERING_CPU_CPUPASSES_TD

include "mlir/Pass/PassBase.td"

def TileLayouts : Pass<"tpa-tile-layouts", "::mlir::func::FuncOp"> {
  let summary = "the order of axes in which a CPU keeps each tile";
  let description = [{
    Reorders the axes of every tile of the function: the last one is the one whose elements stand in a vector. Heads
    are the vector wherever a tile has enough of them, because then no sum, maximum or product crosses lanes; features
    where each head has features of its own or heads are few; else tokens. Where a product has bf16 operands, many
    queries and few heads, queries are the vector of logits, state and output, so that a matrix unit has them as
    columns, and tokens that of values whose cache holds them feature by feature. Where an op needs an operand in another
    order, a `tile.convert` is placed behind the operand's definition.

    ```mlir
    %s = tile.dot %q, %k : <h 47, d 64, f32>, <m 64, d 64, bf16> -> <h 47, m 64, f32>
    // becomes
    %s = tile.dot %q, %k : <d 64, h 47, f32>, <m 64, d 64, bf16> -> <m 64, h 47, f32>
    ```
    Afterwards tiles with the same axes have them in the same order, but for the results of such conversions.
  }];
  let options = [
    Option<"lanes", "lanes", "int64_t", "16", "f32 elements per vector">
  ];
}

def TilesToCpu : Pass<"tpa-tiles-to-cpu", "::mlir::func::FuncOp"> {
  let summary = "tile ops to loops over vectors";
  let description = [{
    Every tile becomes a buffer on the stack, in the type of its arithmetic, its last axis padded to whole vectors; ops
    round what they write to the tile's element type. A load or an elementwise op whose result is read once, at the same
    point, needs no buffer: its reader computes it; and a product that another one goes on with stays in registers.
    Prefetches of a loop's loads are spread over the blocks of its products where these have room for them. Buffers are reused when their tile dies, and an op writes over a
    dying operand where it can: the softmax state and the accumulator that a loop carries stay in place. `tile.dot`
    keeps a block of its result in vector registers.

    ```mlir
    %c = tile.constant_mul %q, 0.125 : !tile.tile<d 64, h 47, f32>
    // becomes, with 16 lanes
    %v = vector.load %buffer[%d, %c0] : memref<64x48xf32>, vector<16xf32>
    %w = arith.mulf %v, %factor : vector<16xf32>
    vector.store %w, %buffer[%d, %c0] : memref<64x48xf32>, vector<16xf32>
    ```
    Expects that no tile crosses a function's boundary; afterwards there are no tiles. Any order of axes is correct; the
    one of `tpa-tile-layouts` is fast.
  }];
  let options = [
    Option<"lanes", "lanes", "int64_t", "16", "f32 elements per vector: 4, 8 or 16">,
    Option<"registers", "registers", "int64_t", "32", "vector registers, 16 or 32">,
    Option<"amx", "amx", "bool", "false", "loops of attention on AMX tiles where their operands are bf16; needs 16 lanes">,
    Option<"avx512", "avx512", "bool", "false", "exponentials by AVX-512 instructions; needs 16 lanes">
  ];
  let dependentDialects = ["::mlir::amx::AMXDialect", "::mlir::LLVM::LLVMDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}

def TileMemory : Pass<"tpa-tile-memory", "::mlir::ModuleOp"> {
  let summary = "large tiles from the stack into memory that the caller gives";
  let description = [{
    Where the memory that a function takes on the stack is more than `frame` bytes, the largest pieces become arguments
    behind its others, pointers that alias nothing, until no more than that is left. What calls it takes one pointer for
    all that its callees need, and passes places within that piece of memory. `tpac.scratch` of a function says how many
    bytes it needs. Functions that nothing in the module calls keep their own memory.

    ```mlir
    llvm.func @item(%x: !llvm.ptr) {
      %tile = llvm.alloca %n x f32 {alignment = 64 : i64} : (i64) -> !llvm.ptr
    // becomes
    llvm.func @item(%x: !llvm.ptr, %tile: !llvm.ptr {llvm.align = 64, llvm.noalias}) attributes {tpac.scratch = 524288} {
    ```
  }];
  let options = [
    Option<"frame", "frame", "int64_t", "96 << 10", "bytes that a function's tiles may take on the stack">
  ];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

#endif // TPAC_LOWERING_CPU_CPUPASSES_TD
