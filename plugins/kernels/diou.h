// The suppression criterion of DIoU-NMS, for host and device. What it means is written in
// edgedet/ops/diou_nms/definition.py.
#pragma once

#include <cmath>

#if defined(__CUDACC__)
#define EDGEDET_HOST_DEVICE __host__ __device__ inline
#else
#define EDGEDET_HOST_DEVICE inline
#endif

namespace edgedet {

// Corners x1, y1, x2, y2 in absolute pixels.
struct Box {
    float x1, y1, x2, y2;
};

// A box without area neither suppresses nor is suppressed. False for NaN.
EDGEDET_HOST_DEVICE bool has_area(const Box& box) { return box.x1 < box.x2 && box.y1 < box.y2; }

template <typename Real>
EDGEDET_HOST_DEVICE Real smaller(Real a, Real b) { return b < a ? b : a; }

template <typename Real>
EDGEDET_HOST_DEVICE Real larger(Real a, Real b) { return a < b ? b : a; }

// IoU below the threshold by more than float32's rounding of the areas: what float32 finds above this, float64 decides.
constexpr double SURELY_BELOW = 1 - 4e-6;

// Whether the box's areas neither overflow nor vanish in float32.
EDGEDET_HOST_DEVICE bool fits_float32(const Box& box) {
    const float farthest = larger(larger(std::fabs(box.x1), std::fabs(box.x2)),
                                  larger(std::fabs(box.y1), std::fabs(box.y2)));
    const float shortest = smaller(box.x2 - box.x1, box.y2 - box.y1);
    return farthest < 1e18F && (shortest > 1e-15F || !has_area(box));
}

// IoU - (rho^2 / c^2) ^ beta of two finite boxes with area. In float64 no float32 box overflows.
EDGEDET_HOST_DEVICE double diou(const Box& a, const Box& b, double beta) {
    const double ax1 = a.x1, ay1 = a.y1, ax2 = a.x2, ay2 = a.y2;
    const double bx1 = b.x1, by1 = b.y1, bx2 = b.x2, by2 = b.y2;
    const double width = larger(smaller(ax2, bx2) - larger(ax1, bx1), 0.0);
    const double height = larger(smaller(ay2, by2) - larger(ay1, by1), 0.0);
    const double shared = width * height;
    const double joined = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared;
    const double dx = (ax1 + ax2 - bx1 - bx2) / 2, dy = (ay1 + ay2 - by1 - by2) / 2;
    const double cx = larger(ax2, bx2) - smaller(ax1, bx1), cy = larger(ay2, by2) - smaller(ay1, by1);
    const double distance = (dx * dx + dy * dy) / (cx * cx + cy * cy);
    return shared / joined - (beta == 1 ? distance : std::pow(distance, beta));
}

}  // namespace edgedet
