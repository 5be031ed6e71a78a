// SPDX-License-Identifier: Apache-2.0
//
// From phases of the tpa dialect to tile programs: select how each is computed, then obey.

#ifndef TPAC_LOWERING_SCHEDULEPASSES_TD
#define TPAC_LOWERING_SCHEDULEPASSES_TD

include "mlir/Pass/PassBase.td"

def SelectSchedule : Pass<"tpa-select-schedule", "::mlir::ModuleOp"> {
  let summary = "how a target computes each phase";
  let description = [{
    Attaches `tpa.schedule` to every `tpa.append`, `tpa.attention` and `tpa.merge` that has none: the target's choice for the variant, which for `tpa.merge`
    is the module's `tpa.variant`. An attention is scheduled as decode in a function of that name, else as prefill. A schedule that is
    there stays; it must be legal for the target.

    ```mlir
    %out, %lse = tpa.attention #variant q(...) ...
    // becomes
    %out, %lse = tpa.attention #variant q(...) ... {tpa.schedule = #tpa.schedule<tokens = 16, queries = 1, heads = 11, operands = f32, split = 8192>}
    ```
    Afterwards all of these ops have a schedule that is legal for the target.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"host\"", "as of tpac: host, x86-64-v3, sm_90a, ...">,
    Option<"valueBlock", "value-block", "int64_t", "-1", "value_block of the schedules that are attached; -1: what the target's kernels read fastest">,
    Option<"pageSize", "page-size", "int64_t", "0", "page_size of the schedules that are attached">
  ];
}

def PhasesToTiles : Pass<"tpa-phases-to-tiles", "::mlir::ModuleOp"> {
  let summary = "phases to tile programs, by their schedules";
  let description = [{
    Replaces the phase functions of a module (`@append`, `@decode`, `@prefill`, `@merge`, as `tpac show --stage variant` prints them) by their tile programs,
    built by the schedules on the ops. For a GPU the programs carry what its passes must know of schedule and cache.

    Expects `tpa-select-schedule`; functions of any other form are refused. Afterwards there are no ops of the tpa dialect, and the module holds
    `@PHASE_item`, `@PHASE_run` and the like (docs/tiles.md).
  }];
  let options = [
    Option<"target", "target", "std::string", "\"host\"", "as of tpac: host, x86-64-v3, sm_90a, ...">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
                           "::mlir::tpa::tile::TileDialect"];
}

#endif // TPAC_LOWERING_SCHEDULEPASSES_TD
