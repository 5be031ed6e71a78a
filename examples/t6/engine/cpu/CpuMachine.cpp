// SPDX-License-Identifier: Apache-2.0
//
// The CPU: matrix products are OpenBLAS's, in f32.

#include "examples/t6/engine/Machine.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>

namespace t6 {

namespace {

constexpr std::align_val_t alignment{64};

class CpuMachine final : public Machine {
public:
  explicit CpuMachine(int threads) {
    tpac_thread_pool_config config = {};
    config.struct_size = sizeof(config);
    config.threads = threads;
    tpac_thread_pool *created = nullptr;
    requireSuccess(tpac_thread_pool_create(&config, &created));
    pool.reset(created);
  }

  tpac_kernels_config kernelsConfig() const override { return {sizeof(tpac_kernels_config), TPAC_CPU, 0, 0}; }
  const tpac_executor *executor() const override { return tpac_thread_pool_executor(pool.get()); }
  void *stream() const override { return nullptr; }
  std::string description() const override { return std::to_string(executor()->concurrency) + " threads"; }
  Type operandType() const override { return Type::f32; }

  Memory allocate(int64_t bytes) override {
    return {::operator new(static_cast<size_t>(std::max<int64_t>(bytes, 1)), alignment),
            [](void *address) { ::operator delete(address, alignment); }};
  }
  void upload(const void *from, int64_t bytes, void *to) override {
    if (bytes > 0)
      std::memcpy(to, from, static_cast<size_t>(bytes));
  }
  void download(const void *from, int64_t bytes, void *to) override { upload(from, bytes, to); }

  Tensor gather(const Tensor &table, const Memory &numbers, int64_t count) override {
    Tensor result = tensor(count, table.width, Type::f32);
    const auto *rows = static_cast<const int32_t *>(numbers.get());
    for (int64_t i = 0; i < count; ++i) {
      float *to = floats(result) + i * table.width;
      if (rows[i] < 0)
        std::fill_n(to, table.width, 0.0F);
      else
        std::copy_n(floats(table) + rows[i] * table.width, table.width, to);
    }
    return result;
  }

  Tensor normalise(const Tensor &x) override {
    Tensor result = tensor(x.rows, x.width, Type::f32);
    for (int64_t row = 0; row < x.rows; ++row) {
      const float *values = floats(x) + row * x.width;
      double sum = 0;
      for (int64_t i = 0; i < x.width; ++i)
        sum += double{values[i]} * values[i];
      const auto scale =
          static_cast<float>(1 / std::sqrt(sum / static_cast<double>(x.width) + std::numeric_limits<float>::epsilon()));
      std::transform(values, values + x.width, floats(result) + row * x.width,
                     [scale](float value) { return value * scale; });
    }
    return result;
  }

  using Machine::project;
  void project(const Tensor &x, const Tensor &weight, Tensor &y, bool adds) override {
    std::vector<float> operand, product;
    const float *from = floats(x);
    if (x.type != Type::f32) {
      operand.resize(static_cast<size_t>(x.elements()));
      load(x.data.get(), x.type, operand);
      from = operand.data();
    }
    float *to = floats(y);
    if (y.type != Type::f32) {
      product.resize(static_cast<size_t>(y.elements()));
      if (adds)
        load(y.data.get(), y.type, product);
      to = product.data();
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(x.rows), static_cast<int>(weight.rows),
                static_cast<int>(weight.width), 1, from, static_cast<int>(x.width), floats(weight),
                static_cast<int>(weight.width), adds ? 1 : 0, to, static_cast<int>(weight.rows));
    if (y.type != Type::f32)
      store(product, y.type, y.data.get());
  }

  Tensor gate(const Tensor &gate, const Tensor &up) override {
    Tensor result = tensor(gate.rows, gate.width, Type::f32);
    const float *gates = floats(gate), *ups = floats(up);
    for (int64_t i = 0; i < gate.elements(); ++i)
      floats(result)[i] = gates[i] * ups[i] / (1 + std::exp(-gates[i]));
    return result;
  }

  Recording record(const std::function<void()> &) override { return nullptr; }
  void repeat(const Recording &) override {}

private:
  static float *floats(const Tensor &x) { return static_cast<float *>(x.data.get()); }

  std::unique_ptr<tpac_thread_pool, void (*)(tpac_thread_pool *)> pool{nullptr, tpac_thread_pool_destroy};
};

} // namespace

std::unique_ptr<Machine> makeCpuMachine(int threads) { return std::make_unique<CpuMachine>(threads); }

} // namespace t6
