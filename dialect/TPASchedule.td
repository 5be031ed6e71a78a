// SPDX-License-Identifier: Apache-2.0
//
// The schedule: the one carrier of tuned choices. A select pass attaches it, builders and targets obey it.

#ifndef TPAC_DIALECT_TPASCHEDULE_TD
#define TPAC_DIALECT_TPASCHEDULE_TD

include "dialect/TPAAttributes.td"

def TPA_ScoreOrder : TPA_Enum<"ScoreOrder", "in which order queries, keys and ranks are contracted", [
    I32EnumCase<"merged", 0>,
    I32EnumCase<"factored", 1>,
    I32EnumCase<"rebuilt", 2>]> {
  let description = [{
    - `merged`: queries are contracted once; each K rank is one product of queries and token factors (H*D per token and rank).
    - `factored`: token factors of Q and K are multiplied first, for all heads at once (RQ*RK*D per token, then H*RQ*RK).
    - `rebuilt`: K is rebuilt from its factors per head, then multiplied (many queries per token).
  }];
}

def TPA_ValueOrder : TPA_Enum<"ValueOrder", "in which order probabilities, values and ranks are contracted", [
    I32EnumCase<"factored", 0>,
    I32EnumCase<"rebuilt", 1>]> {
  let description = [{
    - `factored`: probabilities are multiplied by V's head factor, then by its token factor, rank by rank.
    - `rebuilt`: V is rebuilt from its factors per head, then multiplied.
  }];
}

def TPA_TileRows : TPA_Enum<"TileRows", "what the rows of matrix instructions' results are", [
    I32EnumCase<"heads", 0>,
    I32EnumCase<"tokens", 1>]> {
  let description = [{
    - `heads`: heads of query tokens; columns are cached tokens, then features of values.
    - `tokens`: cached tokens, then features of values; columns are heads of query tokens. For instructions that have fewer columns than rows.
  }];
}

def TPA_ScheduleAttr : TPA_Attr<"Schedule", "schedule"> {
  let summary = "how a phase is computed";
  let description = [{
    Sizes of tiles and orders of contraction. `operands` is the type in which matrix products take their operands; with `query_parts` 2 the merged query is kept as
    the sum of two such values, so that peaked softmaxes keep their precision. `rows` says which of its two indices a score has on the rows of matrix instructions,
    where a target has a choice; the program is the same. A work item of attention computes `item_heads` heads, tile by tile, so that they
    share what its queries need but once; 0 stands for one tile. A cache is split into parts of `split` tokens, whatever the batch and the number of
    threads, so that results do not depend on them; a target whose device divides the work itself only splits or not.

    Blocks of cached tokens may be computed by `groups` of threads in turn, each with up to `stages` blocks in its ring of fast memory, copied by `bulk` copies or
    by every thread.

    `value_block` is how V's cached token factors are stored, so that all phases of a pack have the same: `[batch, capacity, rank, size]` where it is 0, else
    feature by feature in blocks of so many tokens, `[batch, capacity / value_block, rank, size, value_block]`. With a `page_size`, all cached tensors are pools
    of pages of so many tokens, `[pages, page_size, ...]` in place of `[batch, capacity, ...]`, and a table says which pages a request has.

    Example: `#tpa.schedule<tokens = 128, queries = 1, heads = 47, score = merged, value = factored, operands = bf16, query_parts = 2>`.
  }];
  let parameters = (ins
    AttrParameter<"int64_t", "cached tokens per block">:$tokens,
    AttrParameter<"int64_t", "query tokens per tile">:$queries,
    AttrParameter<"int64_t", "heads per tile">:$heads,
    DefaultValuedParameter<"::mlir::tpa::ScoreOrder", "::mlir::tpa::ScoreOrder::merged", "order of the score">:$score,
    DefaultValuedParameter<"::mlir::tpa::ValueOrder", "::mlir::tpa::ValueOrder::factored", "order of the value">:$value,
    DefaultValuedParameter<"::mlir::tpa::TileRows", "::mlir::tpa::TileRows::heads", "rows of matrix instructions' results">:$rows,
    AttrParameter<"::mlir::Type", "operands of matrix products">:$operands,
    DefaultValuedParameter<"int64_t", "1", "summands of the merged query, 1 or 2">:$query_parts,
    DefaultValuedParameter<"int64_t", "0", "heads per work item of attention; 0: one tile's">:$item_heads,
    DefaultValuedParameter<"int64_t", "0", "cached tokens per part of a split cache; 0: never split">:$split,
    DefaultValuedParameter<"int64_t", "0", "tokens per block of V's token caches; 0: token by token">:$value_block,
    DefaultValuedParameter<"int64_t", "0", "tokens per page of the cache; 0: one piece per request">:$page_size,
    DefaultValuedParameter<"int64_t", "1", "groups of threads that take blocks in turn">:$groups,
    DefaultValuedParameter<"int64_t", "1", "blocks that a group holds in fast memory">:$stages,
    DefaultValuedParameter<"bool", "false", "blocks are copied by a copy engine">:$bulk);
  let builders = [
    // One tile of heads per item, on rows, one group, one stage.
    AttrBuilder<(ins "int64_t":$tokens, "int64_t":$queries, "int64_t":$heads, "::mlir::tpa::ScoreOrder":$score,
                     "::mlir::tpa::ValueOrder":$value, "::mlir::Type":$operands, "int64_t":$query_parts,
                     "int64_t":$split, "int64_t":$value_block, CArg<"int64_t", "0">:$page_size), [{
      return $_get($_ctxt, tokens, queries, heads, score, value, TileRows::heads, operands, query_parts,
                   /*item_heads=*/0, split, value_block, page_size, /*groups=*/1, /*stages=*/1, /*bulk=*/false);
    }]>
  ];
  let assemblyFormat = "`<` struct(params) `>`";
  let extraClassDeclaration = [{
    /// Heads of a work item of attention.
    int64_t getHeadsOfItem() const { return getItemHeads() == 0 ? getHeads() : getItemHeads(); }
    /// The largest value_block.
    static constexpr int64_t largestValueBlock = 64;
    /// The largest page_size.
    static constexpr int64_t largestPage = 1 << 20;
    /// 0, or a multiple of `valueBlock` (any number where that is 0), at most largestPage.
    static bool isPageSize(int64_t tokens, int64_t valueBlock) {
      return tokens >= 0 && tokens <= largestPage && (valueBlock == 0 || tokens % valueBlock == 0);
    }
    /// 0, or a power of two of at least 2 and at most largestValueBlock.
    static bool isValueBlock(int64_t tokens) {
      return tokens == 0 || (tokens >= 2 && tokens <= largestValueBlock && (tokens & (tokens - 1)) == 0);
    }
  }];
}

#endif // TPAC_DIALECT_TPASCHEDULE_TD
