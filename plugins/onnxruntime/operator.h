// What every operator for ONNX Runtime needs. Nothing is linked: ONNX Runtime hands its interface over.
#pragma once

#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

#include <exception>
#include <tuple>
#include <vector>

namespace edgedet::onnxruntime {

// ONNX Runtime 1.17's: the oldest that edgedet runs on.
constexpr uint32_t API_VERSION = 17;

// No exception may leave the library.
template <typename Work>
OrtStatusPtr status_of(Work work) noexcept {
    try {
        work();
        return nullptr;
    } catch (const Ort::Exception& error) {
        return Ort::Status(error).release();
    } catch (const std::exception& error) {
        return Ort::Status(error).release();
    }
}

template <typename Type>
Type* output(Ort::KernelContext& context, size_t index, const std::vector<int64_t>& shape) {
    return context.GetOutput(index, shape).template GetTensorMutableData<Type>();
}

// Every float type that a graph may have needs an operator of its own: with one missing, ONNX Runtime would refuse the
// graph instead of computing the function body.
template <template <typename> class Kernel, typename Float>
struct Operator : Ort::CustomOpBase<Operator<Kernel, Float>, Kernel<Float>, /*WithStatus=*/true> {
    Operator() { this->version = API_VERSION; }  // not that of the headers, which older ones refuse

    OrtStatusPtr CreateKernelV2(const OrtApi&, const OrtKernelInfo* info, void** kernel) const {
        return status_of([&] { *kernel = new Kernel<Float>(info); });
    }
    const char* GetName() const { return Kernel<Float>::NAME; }
    const char* GetExecutionProviderType() const { return "CPUExecutionProvider"; }
    size_t GetInputTypeCount() const { return Kernel<Float>::INPUTS; }
    ONNXTensorElementDataType GetInputType(size_t index) const { return Kernel<Float>::input(index); }
    size_t GetOutputTypeCount() const { return Kernel<Float>::OUTPUTS; }
    ONNXTensorElementDataType GetOutputType(size_t index) const { return Kernel<Float>::output(index); }
};

template <template <typename> class Kernel, typename... Floats>
void add(Ort::CustomOpDomain& domain) {
    static const std::tuple<Operator<Kernel, Floats>...> operators;
    (domain.Add(&std::get<Operator<Kernel, Floats>>(operators)), ...);
}

}  // namespace edgedet::onnxruntime
