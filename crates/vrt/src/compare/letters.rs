//! Small capital letters, for names in pictures.

use vrt_video::Frame;

/// Columns of a letter.
const WIDTH: usize = 3;

/// Rows of a letter.
const HEIGHT: usize = 5;

/// Columns from one letter to the next.
const ADVANCE: usize = WIDTH + 1;

/// Brightness of letters.
const INK: f32 = 0.92;

/// What stands for a letter that is not here.
const UNKNOWN: u16 = 0o61202;

/// Each letter's rows from above, an octal digit a row: its bits are the dots from the left.
const LETTERS: [(char, u16); 54] = [
    (' ', 0o00000),
    ('A', 0o25755),
    ('B', 0o65656),
    ('C', 0o34443),
    ('D', 0o65556),
    ('E', 0o74647),
    ('F', 0o74644),
    ('G', 0o34553),
    ('H', 0o55755),
    ('I', 0o72227),
    ('J', 0o11152),
    ('K', 0o55655),
    ('L', 0o44447),
    ('M', 0o57755),
    ('N', 0o65555),
    ('O', 0o25552),
    ('P', 0o65644),
    ('Q', 0o25573),
    ('R', 0o65655),
    ('S', 0o34216),
    ('T', 0o72222),
    ('U', 0o55557),
    ('V', 0o55552),
    ('W', 0o55775),
    ('X', 0o55255),
    ('Y', 0o55222),
    ('Z', 0o71247),
    ('0', 0o75557),
    ('1', 0o26227),
    ('2', 0o61247),
    ('3', 0o61216),
    ('4', 0o55711),
    ('5', 0o74616),
    ('6', 0o34652),
    ('7', 0o71222),
    ('8', 0o25252),
    ('9', 0o25316),
    ('.', 0o00002),
    (',', 0o00024),
    ('-', 0o00700),
    ('–', 0o00700),
    ('_', 0o00007),
    (':', 0o02020),
    (';', 0o02024),
    ('(', 0o12221),
    (')', 0o42224),
    ('[', 0o32223),
    (']', 0o62226),
    ('+', 0o02720),
    ('=', 0o07070),
    ('/', 0o11244),
    ('×', 0o00525),
    ('%', 0o51245),
    ('?', UNKNOWN),
];

/// Rows that a line of text takes at `scale`, with room above and below; an even number where
/// `scale` is even.
pub(super) fn line_height(scale: usize) -> usize {
    (HEIGHT + 3) * scale
}

/// Columns that `text` takes at `scale`.
pub(super) fn width_of(text: &str, scale: usize) -> usize {
    text.chars().count() * ADVANCE * scale
}

/// As much of `text` as fits into `room` columns.
pub(super) fn fitting(text: &str, room: usize, scale: usize) -> String {
    text.chars().take(room / (ADVANCE * scale)).collect()
}

/// Draws `text` with its first letter at (`left`, `top`); what lies outside is not drawn.
pub(super) fn draw(frame: &mut Frame, text: &str, (left, top): (usize, usize), scale: usize) {
    for (place, letter) in text.chars().enumerate() {
        let rows = rows_of(letter);
        let left = left + place * ADVANCE * scale;
        for (row, column) in
            (0..HEIGHT * scale).flat_map(|r| (0..WIDTH * scale).map(move |c| (r, c)))
        {
            let bit = (HEIGHT - 1 - row / scale) * WIDTH + (WIDTH - 1 - column / scale);
            if (rows >> bit) & 1 == 1 {
                dot(frame, left + column, top + row);
            }
        }
    }
}

fn rows_of(letter: char) -> u16 {
    let capital = letter.to_uppercase().next().unwrap_or(letter);
    LETTERS.iter().find(|(known, _)| *known == capital).map_or(UNKNOWN, |(_, rows)| *rows)
}

fn dot(frame: &mut Frame, x: usize, y: usize) {
    let (width, height, channels) = (frame.width(), frame.height(), frame.channels());
    if x < width && y < height {
        let at = (y * width + x) * channels;
        frame.samples_mut()[at..at + channels].fill(INK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The picture of a text, a line of `#` and `.` a row.
    fn drawn(text: &str, scale: usize) -> Vec<String> {
        let mut frame = Frame::filled(width_of(text, scale), HEIGHT * scale, 3, 0.0);
        let width = frame.width();
        draw(&mut frame, text, (0, 0), scale);
        let pixels: Vec<char> =
            frame.samples().chunks(3).map(|it| if it[0] > 0.5 { '#' } else { '.' }).collect();
        pixels.chunks(width).map(|row| row.iter().collect()).collect()
    }

    #[test]
    fn letters_are_drawn_upright() {
        let expected = ["#...###.", "#...#...", "#...##..", "#...#...", "###.###."];
        assert_eq!(drawn("le", 1), expected);
    }

    #[test]
    fn larger_letters_repeat_their_dots() {
        let (small, large) = (drawn("A7", 1), drawn("A7", 3));
        for (y, row) in large.iter().enumerate() {
            let wide = small[y / 3].chars().flat_map(|dot| [dot; 3]).collect::<String>();
            assert_eq!(*row, wide);
        }
    }

    #[test]
    fn all_letters_differ_but_for_dashes() {
        for (place, (letter, rows)) in LETTERS.iter().enumerate() {
            for (other, same) in &LETTERS[..place] {
                assert!(rows != same || (*letter == '–' && *other == '-'), "{letter} {other}");
            }
        }
    }

    #[test]
    fn text_beyond_an_edge_is_left_out() {
        assert_eq!(fitting("carphone", 17, 1), "carp");
        let mut frame = Frame::filled(5, 3, 1, 0.0);
        draw(&mut frame, "WWW\u{1f980}", (3, 1), 2);
        assert!(frame.samples().iter().any(|&sample| sample > 0.0));
    }
}
