// Starts kernels: on a GPU; or, where no CUDA compiler is at work, on the host by plugins/tests/cuda_on_host.
#pragma once

#include <cuda_runtime.h>

namespace edgedet {
namespace cuda {

template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, unsigned block, cudaStream_t stream,
                   Arguments... arguments) {
#if defined(__CUDACC__)
    kernel<<<grid, block, 0, stream>>>(arguments...);
    return cudaPeekAtLastError();
#else
    (void)stream;
    return cuda_on_host::run(grid, block, [=] { kernel(arguments...); });
#endif
}

}  // namespace cuda
}  // namespace edgedet
