// A simulated accelerator: a torch device whose memory is that of the host.
//
// Every operation runs on the CPU. As on a GPU, tensors on the device do not mix with tensors of the
// host, and each copy between them and each value that is read is counted, because the host waits for it.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_local_scalar_dense_native.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/library.h>

#include <atomic>
#include <set>
#include <string>

namespace {

using at::Tensor;
using c10::SymInt;
using c10::SymIntArrayRef;
constexpr auto DEVICE = c10::DeviceType::PrivateUse1;

// Counts since the last reset.
std::atomic<int64_t> operations{0}, waits{0};
thread_local int depth = 0;  // within an operation, whose own copies do not count

struct Within {
  Within() { depth++; }
  ~Within() { depth--; }
};

void count_wait() {
  if (!depth) waits++;
}

bool on_device(const Tensor& t) { return t.device().type() == DEVICE; }

// The device: one of its kind, with one stream and the random numbers of the CPU.

struct Guard final : c10::impl::NoOpDeviceGuardImpl<DEVICE> {
  explicit Guard(c10::DeviceType = DEVICE) {}
  c10::Device getDevice() const override { return {DEVICE, 0}; }
  c10::Device exchangeDevice(c10::Device) const override { return {DEVICE, 0}; }
  c10::Stream getStream(c10::Device device) const noexcept override { return only(device); }
  c10::Stream getDefaultStream(c10::Device device) const override { return only(device); }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
  bool queryEvent(void*) const override { return true; }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag)
      const override {}
  void block(void*, const c10::Stream&) const override {}
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}

 private:
  static c10::Stream only(c10::Device device) {
    return c10::Stream(c10::Stream::DEFAULT, device);
  }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Allocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* data = c10::alloc_cpu(bytes);
    return {data, data, &c10::free_cpu, c10::Device(DEVICE, 0)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &c10::free_cpu; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
} allocator;
REGISTER_ALLOCATOR(c10::DeviceType::PrivateUse1, &allocator);

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override { return 0; }
  void setCurrentDevice(c10::DeviceIndex) const override {}
  bool isPinnedPtr(const void*) const override { return false; }
  at::Allocator* getPinnedMemoryAllocator() const override {
    return c10::GetAllocator(c10::DeviceType::CPU);
  }
  at::Device getDeviceFromPtr(void*) const override { return {DEVICE, 0}; }
  at::Generator getNewGenerator(c10::DeviceIndex) const override {
    return at::detail::createCPUGenerator();
  }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
};
const bool registered = (at::RegisterPrivateUse1HooksInterface(new Hooks), true);

// Memory, copies and values.

Tensor on_host(const Tensor& t) {  // the same memory as a tensor of the CPU
  if (!on_device(t)) return t;
  auto options = t.options().device(at::kCPU);
  auto same = at::from_blob(t.data_ptr(), t.sizes(), t.strides(), options);
  if (t.is_conj()) same = same.conj();
  return t.is_neg() ? same._neg_view() : same;
}

Tensor empty(
    c10::IntArrayRef sizes, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
    std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  c10::DispatchKeySet keys(c10::DispatchKey::PrivateUse1);
  return at::detail::empty_generic(sizes, &allocator, keys, c10::dtype_or_default(dtype), format);
}

Tensor empty_strided(
    c10::IntArrayRef sizes, c10::IntArrayRef strides, std::optional<at::ScalarType> dtype,
    std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  c10::DispatchKeySet keys(c10::DispatchKey::PrivateUse1);
  return at::detail::empty_strided_generic(
      sizes, strides, &allocator, keys, c10::dtype_or_default(dtype));
}

Tensor copy_from(const Tensor& from, const Tensor& to, bool) {
  if (on_device(from) != on_device(to)) count_wait();
  on_host(to).copy_(on_host(from));
  return to;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  to.resize_(from.sizes());
  if (from.numel()) on_host(to).copy_(on_host(from));
  return to;
}

const Tensor& resize(
    const Tensor& self, SymIntArrayRef sizes, std::optional<at::MemoryFormat>) {
  auto wanted = C10_AS_INTARRAYREF_SLOW(sizes);
  if (self.sizes() == wanted) return self;
  self.unsafeGetTensorImpl()->set_sizes_contiguous(wanted);
  auto* storage = self.storage().unsafeGetStorageImpl();
  size_t bytes = (self.numel() + self.storage_offset()) * self.element_size();
  if (storage->nbytes() < bytes) {
    auto memory = allocator.allocate(bytes);
    if (storage->nbytes()) memcpy(memory.get(), storage->data(), storage->nbytes());
    storage->set_data_ptr_noswap(std::move(memory));
    storage->set_nbytes(bytes);
  }
  return self;
}

at::Scalar value(const Tensor& self) {
  count_wait();
  return at::native::_local_scalar_dense_cpu(on_host(self));
}

// Views, which the fallback does not make.

Tensor view(const Tensor& self, SymIntArrayRef sizes) {
  return at::native::view(self, C10_AS_INTARRAYREF_SLOW(sizes));
}

Tensor as_strided(
    const Tensor& self, SymIntArrayRef sizes, SymIntArrayRef strides, std::optional<SymInt> offset) {
  std::optional<int64_t> start;
  if (offset) start = offset->expect_int();
  return at::native::as_strided_tensorimpl(
      self, C10_AS_INTARRAYREF_SLOW(sizes), C10_AS_INTARRAYREF_SLOW(strides), start);
}

Tensor reshape_alias(const Tensor& self, SymIntArrayRef sizes, SymIntArrayRef strides) {
  return at::native::_reshape_alias(
      self, C10_AS_INTARRAYREF_SLOW(sizes), C10_AS_INTARRAYREF_SLOW(strides));
}

Tensor& set_storage(Tensor& self, at::Storage source) {
  return at::native::set_(self, source);
}

Tensor& set_storage_part(
    Tensor& self, at::Storage source, SymInt offset, SymIntArrayRef sizes, SymIntArrayRef strides) {
  return at::native::set_storage_cpu_(
      self, source, offset.expect_int(), C10_AS_INTARRAYREF_SLOW(sizes),
      C10_AS_INTARRAYREF_SLOW(strides));
}

// All other operations run on the CPU, if their tensors are in one place.

const std::set<std::string> SHAPED_BY_VALUES{
    "aten::nonzero", "aten::bincount", "aten::_unique2", "aten::unique_dim", "aten::equal",
    "aten::unique_consecutive", "aten::masked_select", "aten::repeat_interleave"};
const std::set<std::string> INDEXING{
    "aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"};

// As on a GPU, host tensors of no dimension are numbers. Positions may be on the host, from which they
// are copied, and masks are read, unless they are filled with one number.
void check_devices(const std::string& name, c10::ArrayRef<c10::IValue> arguments) {
  bool device = false, host = false, waiting = SHAPED_BY_VALUES.count(name) > 0;
  const bool indexing = INDEXING.count(name) > 0;
  const bool filling = indexing && arguments.size() > 2 && arguments[2].isTensor() &&
      arguments[2].toTensor().numel() == 1;
  bool generator = false;
  auto look = [&](const Tensor& t) {
    if (!t.defined()) return;
    device |= on_device(t);
    host |= !on_device(t) && t.dim() > 0;
  };
  for (const auto& argument : arguments) {
    if (argument.isTensor()) {
      look(argument.toTensor());
    } else if (argument.isGenerator()) {
      generator = true;
    } else if (argument.isTensorList()) {
      for (const Tensor& t : argument.toTensorVector()) look(t);
    } else if (argument.isOptionalTensorList()) {
      for (const auto& t : argument.toOptionalTensorVector()) {
        if (!t || !t->defined()) continue;
        if (!indexing || on_device(*t)) look(*t);
        waiting |= indexing && (!on_device(*t) || (t->scalar_type() == at::kBool && !filling));
      }
    }
  }
  TORCH_CHECK(!(device && host), "Expected all tensors to be on the same device, in ", name);
  TORCH_CHECK(!(device && generator), "Expected no generator of the host, in ", name);
  if (waiting) count_wait();
}

void run_on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  check_devices(op.schema().name(), torch::jit::last(*stack, op.schema().arguments().size()));
  operations++;
  Within operation;
  at::native::cpu_fallback(op, stack);
}

Tensor convolution(
    const Tensor& x, const Tensor& w, const std::optional<Tensor>& b, SymIntArrayRef stride,
    SymIntArrayRef padding, SymIntArrayRef dilation, bool transposed, SymIntArrayRef output_padding,
    SymInt groups) {
  TORCH_CHECK(
      on_device(x) && on_device(w) && !(b && b->defined() && !on_device(*b)),
      "Expected all tensors to be on the same device, in aten::convolution");
  operations++;
  Within operation;
  std::optional<Tensor> bias;
  if (b && b->defined()) bias = b->cpu();
  return at::convolution_symint(
             x.cpu(), w.cpu(), bias, stride, padding, dilation, transposed, output_padding, groups)
      .to(x.device());
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(
    const Tensor& gradient, const Tensor& x, const Tensor& w, SymIntArrayRef stride,
    SymIntArrayRef padding, SymIntArrayRef dilation, bool transposed, SymIntArrayRef output_padding,
    SymInt groups, std::array<bool, 3> wanted) {
  operations++;
  Within operation;
  const SymInt channels(w.size(0));
  at::OptionalSymIntArrayRef bias;
  if (wanted[2]) bias = SymIntArrayRef(channels);
  auto [dx, dw, db] = at::convolution_backward_symint(
      gradient.cpu(), x.cpu(), w.cpu(), bias, stride, padding, dilation, transposed, output_padding,
      groups, wanted);
  auto back = [&](const Tensor& t) { return t.defined() ? t.to(x.device()) : t; };
  return {back(dx), back(dw), back(db)};
}

}  // namespace

TORCH_LIBRARY(simulated, m) {
  m.def("operations() -> int", [] { return operations.load(); });
  m.def("waits() -> int", [] { return waits.load(); });
  m.def("reset() -> ()", [] { operations = waits = 0; });
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("resize_", resize);
  m.impl("_local_scalar_dense", value);
  m.impl("view", view);
  m.impl("as_strided", as_strided);
  m.impl("_reshape_alias", reshape_alias);
  m.impl("view_as_real", TORCH_FN(at::native::view_as_real));
  m.impl("view_as_complex", TORCH_FN(at::native::view_as_complex));
  m.impl("unfold", TORCH_FN(at::native::unfold));
  m.impl("set_.source_Tensor", TORCH_FN(at::native::set_tensor_));
  m.impl("set_.source_Storage", set_storage);
  m.impl("set_.source_Storage_storage_offset", set_storage_part);
  m.impl("convolution_overrideable", convolution);
  m.impl("convolution_backward_overrideable", convolution_backward);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_cpu>());
}

// Copies of conjugate and negative views are resolved in copy_from.
TORCH_LIBRARY_IMPL(aten, Conjugate, m) {
  m.impl("_copy_from", torch::CppFunction::makeFallthrough());
}
TORCH_LIBRARY_IMPL(aten, Negative, m) {
  m.impl("_copy_from", torch::CppFunction::makeFallthrough());
}

TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFallthrough());
}
