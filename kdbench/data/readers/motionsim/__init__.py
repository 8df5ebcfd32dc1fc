"""A generated data set: one kinematic human, from whom both the video and the wearable sensor's signals follow.

Read `body` (the skeleton), `actions` (what is done), `motion` (when), `kinematics` (where everything is), then the two
views of it, `render` and `imu`. `people` draws who performs; `reader` gives it the interface of all data sets.
"""
