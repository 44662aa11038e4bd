#include "kernels/simt/simt.h"
