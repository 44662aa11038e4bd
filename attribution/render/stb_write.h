// Our door to stb_image_write.
#pragma once

namespace retrace::render {

// Encodes 8-bit RGB rows as PNG and hands the bytes to `sink`. False if memory ran out.
bool stb_encode_png(void (*sink)(void* context, void* data, int size), void* context, int width, int height,
                    const unsigned char* rgb);

}  // namespace retrace::render
