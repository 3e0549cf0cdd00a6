// Transpose a matrix on each GPU, check the result, and say how fast it was.
// Part of osc-gpu.  Exit status 0: every GPU has computed what it should.

#include <cstdio>
#include <vector>

static const int SIZE = 2048, TILE = 32, ROUNDS = 20;

#define CHECK(call)                                                      \
    do {                                                                 \
        cudaError_t error = (call);                                      \
        if (error != cudaSuccess) {                                      \
            printf("%s: %s\n", #call, cudaGetErrorString(error));        \
            return 1;                                                    \
        }                                                                \
    } while (0)

__global__ void transpose(const float *from, float *to) {
    __shared__ float tile[TILE][TILE + 1];
    int x = blockIdx.x * TILE + threadIdx.x;
    int y = blockIdx.y * TILE + threadIdx.y;
    tile[threadIdx.y][threadIdx.x] = from[y * SIZE + x];
    __syncthreads();
    x = blockIdx.y * TILE + threadIdx.x;
    y = blockIdx.x * TILE + threadIdx.y;
    to[y * SIZE + x] = tile[threadIdx.x][threadIdx.y];
}

static int run(int device, float *rate) {
    const size_t bytes = sizeof(float) * SIZE * SIZE;
    std::vector<float> in(SIZE * SIZE), out(SIZE * SIZE);
    for (int i = 0; i < SIZE * SIZE; i++) in[i] = (float)i;
    float *from, *to, milliseconds = 0;
    cudaEvent_t begin, end;
    CHECK(cudaSetDevice(device));
    CHECK(cudaMalloc(&from, bytes));
    CHECK(cudaMalloc(&to, bytes));
    CHECK(cudaMemcpy(from, in.data(), bytes, cudaMemcpyHostToDevice));
    CHECK(cudaEventCreate(&begin));
    CHECK(cudaEventCreate(&end));
    dim3 blocks(SIZE / TILE, SIZE / TILE), threads(TILE, TILE);
    transpose<<<blocks, threads>>>(from, to);
    CHECK(cudaGetLastError());
    CHECK(cudaEventRecord(begin));
    for (int i = 0; i < ROUNDS; i++) transpose<<<blocks, threads>>>(from, to);
    CHECK(cudaEventRecord(end));
    CHECK(cudaEventSynchronize(end));
    CHECK(cudaEventElapsedTime(&milliseconds, begin, end));
    CHECK(cudaMemcpy(out.data(), to, bytes, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(from));
    CHECK(cudaFree(to));
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++)
            if (out[x * SIZE + y] != in[y * SIZE + x]) {
                printf("GPU %d has computed a wrong result\n", device);
                return 1;
            }
    *rate = 2.0f * bytes * ROUNDS / (milliseconds * 1e6f);
    return 0;
}

int main() {
    int count = 0;
    float rate = 0, slowest = 0;
    CHECK(cudaGetDeviceCount(&count));
    for (int device = 0; device < count; device++) {
        if (run(device, &rate)) return 1;
        if (device == 0 || rate < slowest) slowest = rate;
    }
    printf("%d GPUs transposed a matrix, the slowest at %.0f GB/s\n", count,
           slowest);
    return count ? 0 : 1;
}
