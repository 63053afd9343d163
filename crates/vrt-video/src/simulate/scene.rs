//! What a camera sees at an instant: a picture, and maybe another before it.

use super::camera::Span;
use super::curve::Curve;
use super::layer::Layer;
use crate::Frame;

/// A scene that can be looked at at any time.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    /// Width and height of frames.
    pub(super) size: (usize, usize),
    pub(super) background: Layer,
    /// What hides the background where it is covered.
    pub(super) foreground: Option<Layer>,
}

impl Scene {
    /// Amounts of light, R, G, B in 0…1, at the time `time` in frames. There is no exposure in it.
    pub(super) fn light_at(&self, time: f64) -> Frame {
        let (width, height) = self.size;
        let curve = Curve::new();
        let background = self.background.view(time);
        let foreground = self.foreground.as_ref().map(|layer| (layer, layer.view(time)));
        let (mut behind, mut before) = (vec![[0.0; 4]; width], vec![[0.0; 4]; width]);
        let mut samples = Vec::with_capacity(width * height * 3);
        for row in 0..height {
            let start = [0.5 - width as f64 / 2.0, row as f64 + 0.5 - height as f64 / 2.0];
            self.background.texture.look(&background, start, &mut behind);
            let Some((layer, view)) = &foreground else {
                samples.extend(behind.iter().flat_map(|pixel| light(curve, pixel)));
                continue;
            };
            layer.texture.look(view, start, &mut before);
            samples.extend(behind.iter().zip(&before).flat_map(|(behind, before)| {
                let cover = before[3].clamp(0.0, 1.0);
                if cover == 0.0 {
                    return light(curve, behind);
                }
                let (behind, before) = (light(curve, behind), light(curve, before));
                std::array::from_fn(|channel| {
                    behind[channel] + cover * (before[channel] - behind[channel])
                })
            }));
        }
        Frame::new(width, height, 3, samples)
    }

    /// The longest way that a point goes within `span`, in pixels.
    pub(super) fn track(&self, span: Span) -> f64 {
        let layers = [Some(&self.background), self.foreground.as_ref()];
        layers.into_iter().flatten().map(|layer| layer.camera.track(span)).fold(0.0, f64::max)
    }
}

fn light(curve: Curve, pixel: &[f32; 4]) -> [f32; 3] {
    [0, 1, 2].map(|channel| curve.light(pixel[channel]))
}
