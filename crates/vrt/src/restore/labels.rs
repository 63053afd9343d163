//! Times and names of frames, which the network does not know, on their way past it.

use std::collections::VecDeque;

/// What a frame is called and when it is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Label {
    pub(super) seconds: Option<f64>,
    pub(super) name: Option<String>,
}

/// Labels of frames that are being restored.
#[derive(Debug, Default)]
pub(super) struct Labels {
    waiting: VecDeque<Label>,
    /// The number of frames is doubled: a new one follows each but the last.
    doubled: bool,
    /// The frame handed out last, if it was one of the input's and a new one follows.
    before_new: Option<Label>,
}

impl Labels {
    pub(super) fn new(doubled: bool) -> Self {
        Self { doubled, ..Self::default() }
    }

    /// A frame of the input goes in.
    pub(super) fn push(&mut self, label: Label) {
        self.waiting.push_back(label);
    }

    /// The label of the next frame that comes out. Frames between two others are shown in the
    /// middle; doubled frames are numbered, since names of their own cannot be found for new ones
    /// between any two names.
    pub(super) fn next(&mut self) -> Label {
        if let Some(before) = self.before_new.take() {
            let behind = self.waiting.front().and_then(|label| label.seconds);
            let seconds = before.seconds.zip(behind).map(|(a, b)| a + (b - a) / 2.0);
            return Label { seconds, name: None };
        }
        let label = self.waiting.pop_front().unwrap_or_default();
        if !self.doubled {
            return label;
        }
        let label = Label { name: None, ..label };
        self.before_new = Some(label.clone());
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(seconds: f64, name: &str) -> Label {
        Label { seconds: Some(seconds), name: Some(name.to_owned()) }
    }

    #[test]
    fn frames_keep_their_labels() {
        let mut labels = Labels::new(false);
        let all = [label(0.0, "a"), label(0.5, "b"), label(0.7, "c")];
        all.iter().for_each(|label| labels.push(label.clone()));
        assert_eq!([labels.next(), labels.next(), labels.next()], all);
    }

    #[test]
    fn new_frames_are_shown_in_the_middle() {
        let mut labels = Labels::new(true);
        for seconds in [0.0, 0.5, 0.7] {
            labels.push(label(seconds, "x"));
        }
        let times: Vec<_> = (0..5).map(|_| labels.next()).collect();
        assert!(times.iter().all(|label| label.name.is_none()));
        let times: Vec<_> = times.iter().map(|label| label.seconds.unwrap()).collect();
        for (time, due) in times.iter().zip([0.0, 0.25, 0.5, 0.6, 0.7]) {
            assert!((time - due).abs() < 1e-12, "{times:?}");
        }
    }

    #[test]
    fn a_new_frame_may_come_long_before_the_next_one_goes_in() {
        let mut labels = Labels::new(true);
        labels.push(label(0.0, "x"));
        labels.next();
        labels.push(label(1.0, "y"));
        assert_eq!(labels.next().seconds, Some(0.5));
        assert_eq!(labels.next().seconds, Some(1.0));
    }

    #[test]
    fn frames_without_times_stay_so() {
        let mut labels = Labels::new(true);
        labels.push(Label::default());
        labels.push(Label::default());
        assert!((0..3).all(|_| labels.next() == Label::default()));
    }
}
