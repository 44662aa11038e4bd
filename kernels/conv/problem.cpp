#include "kernels/conv/conv.h"
