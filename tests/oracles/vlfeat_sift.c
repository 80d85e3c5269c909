/* The real VLFeat's SIFT behind a few plain functions: its own accessors are inline, so ctypes cannot reach them.

   cc -O2 -shared -fPIC vlfeat_sift.c -lvl
*/

#include <string.h>
#include <vl/sift.h>

/* octaves (-1: automatic), levels, first octave, thresholds of peak, edge and norm, magnification, window */
VlSiftFilt *sift_new(int width, int height, double const *settings)
{
  VlSiftFilt *filter = vl_sift_new(width, height, (int)settings[0], (int)settings[1], (int)settings[2]);
  vl_sift_set_peak_thresh(filter, settings[3]);
  vl_sift_set_edge_thresh(filter, settings[4]);
  vl_sift_set_norm_thresh(filter, settings[5]);
  vl_sift_set_magnif(filter, settings[6]);
  vl_sift_set_window_size(filter, settings[7]);
  return filter;
}

/* index, width and height of the current octave */
void sift_octave(VlSiftFilt const *filter, int *shape)
{
  shape[0] = vl_sift_get_octave_index(filter);
  shape[1] = vl_sift_get_octave_width(filter);
  shape[2] = vl_sift_get_octave_height(filter);
}

float const *sift_levels(VlSiftFilt const *filter) { return vl_sift_get_octave(filter, filter->s_min); }
float const *sift_differences(VlSiftFilt const *filter) { return filter->dog; }
float const *sift_gradients(VlSiftFilt const *filter) { return filter->grad; }
int sift_count(VlSiftFilt const *filter) { return vl_sift_get_nkeypoints(filter); }

/* ix, iy, is and x, y, s, sigma of the current octave's keypoints */
void sift_keypoints(VlSiftFilt const *filter, int *places, float *values)
{
  VlSiftKeypoint const *key = vl_sift_get_keypoints(filter);
  int i;
  for (i = 0; i < vl_sift_get_nkeypoints(filter); ++i, ++key) {
    int const place[3] = {key->ix, key->iy, key->is};
    float const value[4] = {key->x, key->y, key->s, key->sigma};
    memcpy(places + 3 * i, place, sizeof place);
    memcpy(values + 4 * i, value, sizeof value);
  }
}

/* Orientations of keypoint i of the current octave. */
int sift_orientations(VlSiftFilt *filter, int i, double *angles)
{
  return vl_sift_calc_keypoint_orientations(filter, angles, vl_sift_get_keypoints(filter) + i);
}

/* Descriptor of keypoint i of the current octave; zeros where VLFeat writes nothing. */
void sift_descriptor(VlSiftFilt *filter, int i, double angle, float *descriptor)
{
  memset(descriptor, 0, 128 * sizeof(float));
  vl_sift_calc_keypoint_descriptor(filter, descriptor, vl_sift_get_keypoints(filter) + i, angle);
}

/* Everything, as a program would call it; returns the number of frames, and writes the first `capacity`. */
int sift_extract(float const *image, int width, int height, double const *settings, double *frames,
                 float *descriptors, int capacity)
{
  VlSiftFilt *filter = sift_new(width, height, settings);
  int count = 0, i, q;
  int done = vl_sift_process_first_octave(filter, image);
  for (; !done; done = vl_sift_process_next_octave(filter)) {
    vl_sift_detect(filter);
    for (i = 0; i < vl_sift_get_nkeypoints(filter); ++i) {
      VlSiftKeypoint const *key = vl_sift_get_keypoints(filter) + i;
      double angles[4];
      int const found = vl_sift_calc_keypoint_orientations(filter, angles, key);
      for (q = 0; q < found; ++q, ++count) {
        if (count < capacity) {
          double const frame[4] = {key->x, key->y, key->sigma, angles[q]};
          memcpy(frames + 4 * count, frame, sizeof frame);
          sift_descriptor(filter, i, angles[q], descriptors + 128 * count);
        }
      }
    }
  }
  vl_sift_delete(filter);
  return count;
}
