// The launchers of the single variants, chosen among by launch.cu. Arguments have been validated there.
#pragma once
#include "kernels/conv/conv.h"
#include "kernels/simt/simt.h"

namespace retrace::kernels::RETRACE_TARGET {

void conv2d_fprop_direct(const Conv2dFprop&, Stream);
void conv2d_dgrad_direct(const Conv2dDgrad&, Stream);
void conv2d_wgrad_direct(const Conv2dWgrad&, Stream);
void conv2d_fprop_tiled(const Conv2dFprop&, Stream);
void conv2d_dgrad_tiled(const Conv2dDgrad&, Stream);
void conv2d_wgrad_tiled(const Conv2dWgrad&, Stream);
void conv2d_fprop_depthwise(const Conv2dFprop&, Stream);
void conv2d_dgrad_depthwise(const Conv2dDgrad&, Stream);
void conv2d_wgrad_depthwise(const Conv2dWgrad&, Stream);

// dw = Σ workspace[slice], added to dw if asked for, in an order that depends on the number of slices alone.
void conv2d_wgrad_add_slices(const Conv2dWgrad&, int slices, Stream);

}  // namespace retrace::kernels::RETRACE_TARGET
