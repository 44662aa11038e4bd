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

}  // namespace retrace::kernels::RETRACE_TARGET
