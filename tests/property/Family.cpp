// SPDX-License-Identifier: Apache-2.0
//
// Draws a variant field by field, then a workload. Order matters: later fields depend on earlier ones.

#include "tests/property/Family.h"

#include "tests/property/Random.h"

#include <algorithm>
#include <numeric>
#include <sstream>

namespace property {
namespace {

using Json = nlohmann::json;
using Sizes = std::vector<int64_t>;

/// What the seed's place in each run of twelve asks for, whatever else is drawn.
enum class Trait {
  emptyBatch,
  zeroLength,
  ragged,
  peaked,
  seesNothing,
  merge,
  prefill,
  strided,
  quantised,
  longCache,
  none
};

Trait traitOf(uint64_t seed) {
  uint64_t place = seed % 12;
  return place < static_cast<uint64_t>(Trait::none) ? static_cast<Trait>(place) : Trait::none;
}

int64_t product(const Sizes &sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<>());
}

/// `count` sizes whose product is `features`, in random order.
Sizes randomFactors(Random &random, int64_t features, size_t count) {
  Sizes sizes;
  while (sizes.size() + 1 < count) {
    Sizes divisors;
    for (int64_t d = 1; d <= std::min<int64_t>(features, 24); ++d)
      if (features % d == 0)
        divisors.push_back(d);
    int64_t size = divisors[random.range(0, static_cast<int64_t>(divisors.size()) - 1)];
    sizes.push_back(size);
    features /= size;
  }
  sizes.push_back(features);
  std::swap(sizes.back(), sizes[random.range(0, static_cast<int64_t>(sizes.size()) - 1)]);
  return sizes;
}

Sizes randomSizes(Random &random, size_t count, int64_t first, int64_t largestProduct) {
  Sizes sizes = {first};
  while (sizes.size() < count) {
    int64_t room = largestProduct / product(sizes);
    sizes.push_back(random.range(1, std::clamp<int64_t>(room, 1, count > 2 ? 6 : 24)));
  }
  return sizes;
}

class VariantGenerator {
public:
  VariantGenerator(uint64_t seed, Random &random) : random(random), trait(traitOf(seed)) {
    json["tpac_variant"] = 1;
    json["name"] = "seed" + std::to_string(seed);
  }

  Json generate() {
    heads = random.range(1, 13);
    json["heads"] = heads;
    drawHeadRange();
    drawSizes();
    json["q"] = drawSide(querySizes, "q");
    json["k"] = drawSide(keySizes, "k");
    if (rope)
      drawRope();
    if (random.chance(25))
      drawSharedValues();
    else
      json["v"] = drawSide(valueSizes, "v");
    drawMask();
    drawTypes();
    if (trait != Trait::peaked) {
      if (random.chance(20))
        json["softcap"] = static_cast<double>(random.range(4, 100)) / 2;
      if (random.chance(15))
        json["query_precision"] = random.chance(80) ? "storage" : "full";
    }
    if (random.chance(25))
      json["scale"] = static_cast<double>(random.range(5, 150)) / 100;
    if (random.chance(25))
      json["weights"]["head_factor_rows"] = random.pick({"head_major", "rank_major"});
    return json;
  }

private:
  void drawHeadRange() {
    if (!random.chance(25))
      return;
    headBegin = random.range(0, heads - 1);
    int64_t headEnd = random.range(headBegin + 1, heads);
    json["head_range"] = {headBegin, headEnd};
    isProperRange = headEnd - headBegin < heads;
  }

  size_t drawTokenFactors() {
    int64_t draw = random.range(0, 99);
    return draw < 45 ? 1 : draw < 75 ? 2 : draw < 93 ? 3 : 4;
  }

  /// Sizes of Q's and K's token factors, of equal product, and V's. The side with more factors comes first: its first
  /// size is RoPE's block.
  void drawSizes() {
    rope = random.chance(60);
    size_t queryFactors = drawTokenFactors();
    size_t keyFactors = drawTokenFactors();
    size_t more = std::max(queryFactors, keyFactors);
    size_t fewer = std::min(queryFactors, keyFactors);
    int64_t first = random.range(1, more == 1 ? 40 : 24);
    // Mostly even; odd blocks are rotated in part.
    if (rope)
      first = random.chance(85) ? 2 * random.range(1, more == 1 ? 20 : 8) : random.range(3, 11);
    Sizes longer = randomSizes(random, more, first, 96);
    Sizes shorter;
    if (rope && fewer > 1) {
      shorter = randomFactors(random, product(longer) / first, fewer - 1);
      shorter.insert(shorter.begin(), first);
    } else {
      shorter = randomFactors(random, product(longer), fewer);
    }
    block = first;
    querySizes = queryFactors == more ? longer : shorter;
    keySizes = queryFactors == more ? shorter : longer;
    size_t valueFactors = drawTokenFactors();
    valueSizes = randomSizes(random, valueFactors, random.range(1, valueFactors == 1 ? 40 : 24), 96);
  }

  /// Q, K or V with its own token factors.
  Json drawSide(const Sizes &sizes, const std::string &side) {
    if (sizes.size() == 1 && random.chance(side == "q" ? 25 : 8))
      return {{"dense", sizes[0]}};
    Json result;
    result["rank"] = random.range(1, 5);
    if (random.chance(70))
      result["normalized"] = random.chance(50);
    result["head"] = drawHead(result);
    bool contextual = result["head"]["source"] == "contextual";
    for (int64_t size : sizes) {
      bool learned = random.chance(15);
      contextual |= !learned;
      result["token"].push_back({{"source", learned ? "learned" : "contextual"}, {"size", size}});
    }
    // Keys and values that no token has a part in would leave nothing to cache.
    if (!contextual && side != "q")
      result["token"][random.range(0, static_cast<int64_t>(sizes.size()) - 1)]["source"] = "contextual";
    return result;
  }

  /// A head factor for `side`; maps set its rank.
  Json drawHead(Json &side) {
    int64_t draw = random.range(0, 99);
    if (draw >= 75) {
      std::string map = random.pick({"one_hot", "groups", "ones"});
      side["rank"] = map == "one_hot" ? heads : map == "ones" ? 1 : random.range(1, std::min<int64_t>(heads, 5));
      return {{"source", "fixed"}, {"map", map}};
    }
    Json head = {{"source", draw < 60 ? "contextual" : "learned"}};
    drawHeadFunction(head);
    return head;
  }

  void drawHeadFunction(Json &head) {
    if (random.chance(15))
      head["function"] = "sigmoid";
    else if (random.chance(12) && !isProperRange)
      head["function"] = "softmax";
    else if (random.chance(20))
      head["function"] = "identity";
  }

  /// V on K's token factors: K's rank and sizes, the last of which may be smaller.
  void drawSharedValues() {
    const Json &key = json["k"];
    bool keyIsDense = key.contains("dense");
    int64_t rank = keyIsDense ? heads : key["rank"].get<int64_t>();
    bool keyIsOneHot = keyIsDense || key["head"].value("map", "") == "one_hot";
    Json value;
    value["rank"] = rank;
    if (random.chance(70))
      value["normalized"] = random.chance(50);
    Sizes sizes = keySizes;
    if (random.chance(60))
      sizes.back() = random.range(1, sizes.back());
    for (int64_t size : sizes)
      value["token"].push_back({{"source", "shared"}, {"size", size}});
    std::vector<std::string> maps;
    if (rank == heads)
      maps.push_back("one_hot");
    if (rank <= heads)
      maps.push_back("groups");
    if (rank == 1)
      maps.push_back("ones");
    Json head;
    if (!maps.empty() && random.chance(45)) {
      head = {{"source", "fixed"}, {"map", maps[random.range(0, static_cast<int64_t>(maps.size()) - 1)]}};
    } else {
      head = {{"source", random.chance(75) ? "contextual" : "learned"}};
      drawHeadFunction(head);
    }
    // A slice of heads holds a one_hot factor's slice of ranks: both sides must agree on it.
    bool valueIsOneHot = head.value("map", "") == "one_hot";
    if (isProperRange && keyIsOneHot != valueIsOneHot) {
      json.erase("head_range");
      isProperRange = false;
    }
    value["head"] = head;
    json["v"] = value;
    if (rope && usesRotated(product(sizes)))
      json["v_sees"] = random.pick({"rotated", "unrotated"});
  }

  /// Any of the first `features` features is rotated.
  bool usesRotated(int64_t features) const {
    int64_t offset = json["rope"].value("offset", int64_t{0});
    return features > offset;
  }

  void drawRope() {
    Json result;
    int64_t rotated = block / 2 * 2;
    if (random.chance(45))
      rotated = 2 * random.range(1, block / 2);
    result["d_rot"] = rotated;
    if (rotated < block && random.chance(70))
      result["offset"] = random.range(0, block - rotated);
    if (random.chance(60))
      result["layout"] = random.pick({"half", "interleaved"});
    if (random.chance(60))
      result["direction"] = random.pick({1, -1});
    if (random.chance(20)) {
      for (int64_t j = 0; j < rotated / 2; ++j)
        result["inv_freq"].push_back(static_cast<double>(random.range(1, 1000)) / static_cast<double>(1000 * (j + 1)));
    } else if (random.chance(40)) {
      result["base"] = random.pick({100.0, 500000.0, 1234.5});
    }
    if (random.chance(20))
      result["amplitude"] = static_cast<double>(random.range(50, 150)) / 100;
    json["rope"] = result;
  }

  void drawMask() {
    if (trait == Trait::seesNothing)
      json["causal"] = true;
    else if (random.chance(60))
      json["causal"] = random.chance(45);
    if (random.chance(25))
      json["window"] = random.chance(30) ? random.range(1, 3) : random.range(1, 30);
  }

  void drawTypes() {
    auto set = [&](const char *activation, const char *head, const char *token, const char *output,
                   const char *compute) {
      json["types"] = {
          {"activation", activation}, {"head", head}, {"token", token}, {"output", output}, {"compute", compute}};
    };
    auto storage = [&] { return random.pick({"f32", "bf16", "f16"}); };
    int64_t draw = random.range(0, 99);
    if (trait == Trait::quantised || draw >= 85) {
      const char *activation = storage();
      const char *head = storage();
      const char *output = storage();
      const char *token = random.pick({"f8E4M3FN", "i8"});
      // Products of three and more scales lie below f16's range.
      if (std::max(keySizes.size(), valueSizes.size()) > 2 && head == std::string("f16"))
        head = "bf16";
      set(activation, head, token, output, random.chance(15) ? "f64" : "f32");
    } else if (draw < 42) {
      set("f32", "f32", "f32", "f32", "f32");
    } else if (draw < 54) {
      set("f64", "f64", "f64", "f64", "f64");
    } else if (draw < 60) {
      if (random.chance(50))
        json["types"] = {{"output", random.pick({"bf16", "f32"})}};
    } else if (draw < 66) {
      set("f16", "f16", "f16", "f16", "f32");
    } else if (draw < 72) {
      auto wide = [&] { return random.pick({"f32", "f64"}); };
      const char *activation = wide();
      const char *head = wide();
      const char *token = wide();
      set(activation, head, token, wide(), "f64");
    } else {
      const char *activation = storage();
      const char *head = storage();
      const char *token = storage();
      set(activation, head, token, storage(), "f32");
    }
  }

  Random &random;
  Trait trait;
  Json json;
  int64_t heads = 0;
  int64_t headBegin = 0;
  bool isProperRange = false;
  bool rope = false;
  int64_t block = 0;
  Sizes querySizes;
  Sizes keySizes;
  Sizes valueSizes;
};

bool isAllF64(const Json &variant) {
  if (!variant.contains("types"))
    return false;
  for (const char *field : {"activation", "head", "token", "output"})
    if (variant["types"].value(field, "bf16") != std::string("f64"))
      return false;
  return true;
}

Workload drawWorkload(uint64_t seed, const Json &variant, Random &random) {
  Workload workload;
  Trait trait = traitOf(seed);
  int64_t batch = trait == Trait::emptyBatch ? 0 : trait == Trait::ragged ? random.range(3, 4) : random.range(1, 4);
  int64_t calls = random.range(1, 3);
  workload.appended.assign(calls, std::vector<int64_t>(batch));
  for (int64_t b = 0; b < batch; ++b) {
    int64_t length = random.chance(15) ? random.range(0, 1) : random.range(0, 40);
    int64_t queries = random.range(0, 5);
    if (trait == Trait::ragged) {
      length = 3 + 9 * b + random.range(0, 5);
      queries = b + 1;
    }
    if (b == 0) {
      if (trait == Trait::zeroLength) {
        length = 0;
        queries = random.range(1, 5);
      } else if (trait == Trait::seesNothing) {
        length = random.range(1, 3);
        queries = 5;
      } else if (trait == Trait::peaked || trait == Trait::merge || trait == Trait::prefill) {
        length = random.range(12, 40);
        queries = random.range(3, 5);
      }
    }
    // What is left goes to the last call; some calls append nothing to a request.
    int64_t left = length;
    for (int64_t call = 0; call < calls; ++call) {
      int64_t count = call + 1 == calls ? left : random.range(0, left);
      workload.appended[call][b] = count;
      left -= count;
    }
    workload.queries.push_back(queries);
    int64_t farthest = isAllF64(variant) ? 1000 : 1000000;
    workload.firstPositions.push_back(random.chance(20)   ? random.range(0, farthest)
                                      : random.chance(50) ? 0
                                                          : random.range(0, 99));
  }
  // The oracle and the interpreter would take minutes for the heads of the largest configs.
  const Json &heads = variant.at("heads");
  if (trait == Trait::longCache && heads.is_number() && heads.get<int64_t>() <= 48) {
    // Several of the largest blocks that schedules have, and what is left of one; the maximum moves in between.
    workload.appended[0][0] += random.range(520, 900);
    workload.queries[0] = std::max<int64_t>(1, workload.queries[0]);
    workload.quietTokens = random.range(0, 600);
    // Several chunks of the largest query tiles.
    if (random.chance(40)) {
      workload.queries[0] = random.range(33, 130);
      workload.prefill = true;
    }
  }
  workload.spareCapacity = random.chance(20) ? 0 : random.range(1, 9);
  if (trait != Trait::emptyBatch && random.chance(30)) {
    workload.leadingRows = random.range(0, 2);
    workload.trailingRows = random.range(0, 2);
  }
  bool isRounded = variant.value("query_precision", "full") == std::string("storage");
  if (trait == Trait::peaked || (workload.quietTokens > 0 && !isRounded))
    workload.largestLogit = 250.0;
  else if (!isRounded && random.chance(20))
    workload.largestLogit = static_cast<double>(random.range(20, 200));
  else
    workload.largestLogit = static_cast<double>(random.range(1, 10));
  workload.strided = trait == Trait::strided || random.chance(35);
  workload.prefill |= trait == Trait::prefill || random.chance(15);
  workload.merge = trait == Trait::merge || random.chance(10);
  return workload;
}

} // namespace

int64_t Workload::length(int64_t request) const {
  int64_t sum = 0;
  for (const std::vector<int64_t> &call : appended)
    sum += call[request];
  return sum;
}

int64_t Workload::capacity() const {
  int64_t longest = 0;
  for (int64_t b = 0; b < batch(); ++b)
    longest = std::max(longest, length(b));
  return longest + spareCapacity;
}

Member generateMember(uint64_t seed) {
  Random random(seed * 0x2545f4914f6cdd1d + 1);
  Json variant = VariantGenerator(seed, random).generate();
  Workload workload = drawWorkload(seed, variant, random);
  return {seed, std::move(variant), std::move(workload)};
}

Member memberOf(nlohmann::json variant, uint64_t seed) {
  Random random(seed * 0x2545f4914f6cdd1d + 1);
  Workload workload = drawWorkload(seed, variant, random);
  return {seed, std::move(variant), std::move(workload)};
}

std::string describe(const Workload &workload) {
  auto list = [](const std::vector<int64_t> &numbers) {
    std::string text;
    for (int64_t number : numbers)
      text += (text.empty() ? "" : " ") + std::to_string(number);
    return "[" + text + "]";
  };
  std::ostringstream text;
  text << "appended";
  for (const std::vector<int64_t> &call : workload.appended)
    text << " " << list(call);
  text << ", queries " << list(workload.queries) << ", capacity " << workload.capacity() << ", first positions "
       << list(workload.firstPositions) << ", rows of no request " << workload.leadingRows << " + "
       << workload.trailingRows << ", logits to " << workload.largestLogit
       << (workload.strided ? ", strided" : ", contiguous")
       << (workload.quietTokens ? ", first " + std::to_string(workload.quietTokens) + " keys small" : "")
       << (workload.prefill ? ", prefill" : "") << (workload.merge ? ", merge" : "");
  return text.str();
}

} // namespace property
