//! Tables for a terminal: columns as wide as what is in them.

use std::fmt;

/// Spaces between columns.
const GAP: &str = "  ";

/// Rows of cells; the first column is text, the others are figures and end at one line.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
enum Row {
    Cells(Vec<String>),
    /// A name, and text that no column is made for.
    Fact(String, String),
    Line,
}

impl Table {
    /// A table with these headings.
    pub(super) fn new<T: Into<String>>(headings: impl IntoIterator<Item = T>) -> Self {
        let mut table = Self::default();
        table.row(headings);
        table.line();
        table
    }

    /// Adds a row.
    pub(super) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(Row::Cells(cells.into_iter().map(Into::into).collect()));
    }

    /// Adds a name with text behind it, which does not widen other columns.
    pub(super) fn fact(&mut self, name: &str, text: String) {
        self.rows.push(Row::Fact(name.to_owned(), text));
    }

    /// Adds a line across all columns.
    pub(super) fn line(&mut self) {
        self.rows.push(Row::Line);
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = Vec::new();
        for row in &self.rows {
            let cells = match row {
                Row::Cells(cells) => &cells[..],
                Row::Fact(name, _) => std::slice::from_ref(name),
                Row::Line => &[],
            };
            widths.resize(widths.len().max(cells.len()), 0);
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let across = widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
        for row in &self.rows {
            let line = match row {
                Row::Line => "─".repeat(across),
                Row::Cells(cells) => aligned(cells, &widths),
                Row::Fact(name, text) => format!("{name:<0$}{GAP}{text}", widths[0]),
            };
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn aligned(cells: &[String], widths: &[usize]) -> String {
    let cells = cells.iter().zip(widths).enumerate().map(|(column, (cell, &width))| match column {
        0 => format!("{cell:<width$}"),
        _ => format!("{cell:>width$}"),
    });
    cells.collect::<Vec<_>>().join(GAP)
}

/// A number with its digits in groups of three: `18,320,007`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that leaves at most four digits before the point.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Operations in the unit that leaves at most three digits before the point.
pub(super) fn flops(count: u128) -> String {
    let (value, unit) = match count {
        0..1_000_000 => (count as f64 / 1e3, "k"),
        1_000_000..1_000_000_000 => (count as f64 / 1e6, "M"),
        1_000_000_000..1_000_000_000_000 => (count as f64 / 1e9, "G"),
        _ => (count as f64 / 1e12, "T"),
    };
    format!("{value:.2} {unit}FLOP")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["part", "parameters"]);
        table.row(["flow – é", "7"]);
        table.row(["b", "12,345,678,901"]);
        let expected = "part          parameters\n\
                        ────────────────────────\n\
                        flow – é               7\n\
                        b         12,345,678,901\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn facts_stand_behind_the_longest_name() {
        let mut table = Table::default();
        table.fact("window", "6 frames".to_owned());
        table.fact("input channels", "3".to_owned());
        assert_eq!(table.to_string(), "window          6 frames\ninput channels  3\n");
    }

    #[test]
    fn a_short_row_leaves_no_spaces_behind() {
        let mut table = Table::new(["a", "b", "c"]);
        table.row(["whole clip"]);
        assert!(table.to_string().lines().all(|line| line == line.trim_end()));
    }

    #[test]
    fn digits_are_grouped_from_the_right() {
        let numbers = [0, 12, 999, 1000, 18_320_007, u64::MAX];
        let texts = numbers.map(grouped);
        assert_eq!(texts[..4], ["0", "12", "999", "1,000"]);
        assert_eq!(texts[4..], ["18,320,007", "18,446,744,073,709,551,615"]);
    }

    #[test]
    fn amounts_take_a_fitting_unit() {
        assert_eq!([0, 1023, 1024, 3 << 29].map(bytes), ["0 B", "1023 B", "1.0 KiB", "1.5 GiB"]);
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!(flops(8_930_000_000_000), "8.93 TFLOP");
        assert_eq!(flops(22_700_000), "22.70 MFLOP");
    }
}
