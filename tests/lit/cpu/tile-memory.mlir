// RUN: tpa-opt %s --tpa-tile-memory=frame=1024 | FileCheck %s

// Tiles leave the stack, the largest first, until 1 KiB is left; a piece of memory for all that is called. What two
// callees need at different times is the same memory.

// CHECK: llvm.func @item(%{{.*}}: i64, %[[TILE:.*]]: !llvm.ptr {llvm.align = 64 : i64, llvm.noalias})
// CHECK-SAME: no_inline
// CHECK-SAME: tpac.scratch = 4096
llvm.func @item(%i: i64) attributes {sym_visibility = "private"} {
  %small = llvm.mlir.constant(256 : i64) : i64
  %large = llvm.mlir.constant(1024 : i64) : i64
  // CHECK: llvm.alloca
  // CHECK-NOT: llvm.alloca
  %0 = llvm.alloca %small x f32 {alignment = 64 : i64} : (i64) -> !llvm.ptr
  %1 = llvm.alloca %large x f32 {alignment = 64 : i64} : (i64) -> !llvm.ptr
  // CHECK: llvm.store %{{.*}}, %[[TILE]]
  llvm.store %i, %1 : i64, !llvm.ptr
  llvm.store %i, %0 : i64, !llvm.ptr
  llvm.return
}

// CHECK: llvm.func @other(%[[OWN:.*]]: !llvm.ptr {{{.*}}}, %[[BEHIND:.*]]: !llvm.ptr {{{.*}}})
// CHECK-SAME: tpac.scratch = 12352
llvm.func @other() attributes {sym_visibility = "private"} {
  %count = llvm.mlir.constant(8200 : i64) : i64
  %i = llvm.mlir.constant(0 : i64) : i64
  // A tile of 8200 bytes takes 8256.
  %0 = llvm.alloca %count x i8 {alignment = 64 : i64} : (i64) -> !llvm.ptr
  // CHECK: llvm.store %{{.*}}, %[[OWN]]
  llvm.store %i, %0 : i64, !llvm.ptr
  // CHECK: %[[PLACE:.*]] = llvm.getelementptr %[[BEHIND]][0]
  // CHECK: llvm.call @item(%{{.*}}, %[[PLACE]])
  llvm.call @item(%i) : (i64) -> ()
  llvm.return
}

// CHECK: llvm.func @run(%[[ALL:.*]]: !llvm.ptr {{{.*}}})
// CHECK-SAME: tpac.scratch = 12352
llvm.func @run() {
  %i = llvm.mlir.constant(0 : i64) : i64
  // CHECK: llvm.call @item(%{{.*}}, %{{.*}})
  llvm.call @item(%i) : (i64) -> ()
  // CHECK: %[[FIRST:.*]] = llvm.getelementptr %[[ALL]][0]
  // CHECK: %[[SECOND:.*]] = llvm.getelementptr %[[ALL]][8256]
  // CHECK: llvm.call @other(%[[FIRST]], %[[SECOND]])
  llvm.call @other() : () -> ()
  llvm.return
}

// Nothing here calls it, so that its arguments stay.
// CHECK: llvm.func @entry() {
// CHECK: llvm.alloca
llvm.func @entry() {
  %large = llvm.mlir.constant(1024 : i64) : i64
  %i = llvm.mlir.constant(0 : i64) : i64
  %0 = llvm.alloca %large x f32 {alignment = 64 : i64} : (i64) -> !llvm.ptr
  llvm.store %i, %0 : i64, !llvm.ptr
  llvm.return
}
