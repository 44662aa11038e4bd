// The one place where stb_image_write is compiled; static, because some distributions also ship it as a
// library.
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#include "attribution/render/stb_write.h"

#include <stb_image_write.h>

namespace retrace::render {

bool stb_encode_png(void (*sink)(void* context, void* data, int size), void* context, int width, int height,
                    const unsigned char* rgb) {
  return stbi_write_png_to_func(sink, context, width, height, 3, rgb, width * 3) != 0;
}

}  // namespace retrace::render
