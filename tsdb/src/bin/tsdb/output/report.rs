//! Answers that fit a page.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value};

use super::{Cell, Format, csv};

/// An answer in named parts: records, which have fields, and lists, which have columns and rows.
///
/// Names of fields and columns end in their unit (`_bytes`, `_ms`); tables show the unit in the value instead.
#[derive(Debug, Default)]
pub(crate) struct Report {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    name: &'static str,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Record(Vec<(&'static str, Cell)>),
    List {
        columns: Vec<&'static str>,
        rows: Vec<Vec<Cell>>,
    },
}

impl Report {
    /// Returns the report with one more record.
    #[must_use]
    pub(crate) fn record(
        mut self,
        name: &'static str,
        fields: impl IntoIterator<Item = (&'static str, Cell)>,
    ) -> Self {
        self.parts.push(Part {
            name,
            content: Content::Record(fields.into_iter().collect()),
        });
        self
    }

    /// Returns the report with one more list.
    #[must_use]
    pub(crate) fn list(
        mut self,
        name: &'static str,
        columns: &[&'static str],
        rows: impl IntoIterator<Item = Vec<Cell>>,
    ) -> Self {
        let content = Content::List {
            columns: columns.to_vec(),
            rows: rows.into_iter().collect(),
        };
        self.parts.push(Part { name, content });
        self
    }

    /// Writes the report.
    pub(crate) fn write(&self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Table => self.write_tables(out),
            Format::Json => {
                serde_json::to_writer_pretty(&mut *out, &self.json())?;
                writeln!(out)
            }
            Format::Ndjson => self.write_lines(out),
            Format::Csv => self.write_csv(out),
        }
    }

    fn write_tables(&self, out: &mut dyn Write) -> io::Result<()> {
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            let table = match &part.content {
                Content::Record(fields) => record_table(fields),
                Content::List { columns, rows } => {
                    if self.parts.len() > 1 {
                        writeln!(out, "{}", title(part.name))?;
                    }
                    if rows.is_empty() {
                        writeln!(out, "none")?;
                        continue;
                    }
                    list_table(columns, rows)
                }
            };
            for line in table.lines() {
                writeln!(out, "{}", line.trim_end())?;
            }
        }
        Ok(())
    }

    /// One part is the document itself; several are its members.
    fn json(&self) -> Value {
        match self.parts.as_slice() {
            [only] => only.json(),
            parts => Value::Object(
                parts
                    .iter()
                    .map(|part| (part.name.to_owned(), part.json()))
                    .collect(),
            ),
        }
    }

    fn write_lines(&self, out: &mut dyn Write) -> io::Result<()> {
        for part in &self.parts {
            for mut line in part.objects() {
                if self.parts.len() > 1 {
                    line.insert("part".to_owned(), Value::from(part.name));
                }
                serde_json::to_writer(&mut *out, &line)?;
                writeln!(out)?;
            }
        }
        Ok(())
    }

    fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            match &part.content {
                Content::Record(fields) => {
                    csv::write_line(out, fields.iter().map(|(name, _)| *name))?;
                    csv::write_line(out, fields.iter().map(|(_, cell)| cell.plain()))?;
                }
                Content::List { columns, rows } => {
                    csv::write_line(out, columns)?;
                    for row in rows {
                        csv::write_line(out, row.iter().map(Cell::plain))?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Part {
    fn json(&self) -> Value {
        let mut objects = self.objects().map(Value::Object);
        match &self.content {
            Content::Record(_) => objects.next().unwrap_or_default(),
            Content::List { .. } => Value::Array(objects.collect()),
        }
    }

    fn objects(&self) -> Box<dyn Iterator<Item = Map<String, Value>> + '_> {
        match &self.content {
            Content::Record(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, cell)| ((*name).to_owned(), cell.json()));
                Box::new(std::iter::once(fields.collect()))
            }
            Content::List { columns, rows } => Box::new(rows.iter().map(|row| {
                let fields = columns.iter().zip(row);
                fields
                    .map(|(name, cell)| ((*name).to_owned(), cell.json()))
                    .collect()
            })),
        }
    }
}

fn record_table(fields: &[(&'static str, Cell)]) -> Table {
    let mut table = empty_table();
    for (name, cell) in fields {
        table.add_row([title(name), cell.human()]);
    }
    pad(&mut table);
    table
}

fn list_table(columns: &[&'static str], rows: &[Vec<Cell>]) -> Table {
    let mut table = empty_table();
    table.set_header(columns.iter().map(|name| title(name).to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(Cell::human));
    }
    for index in 0..columns.len() {
        let is_number = rows
            .iter()
            .any(|row| row.get(index).is_some_and(Cell::is_number));
        if is_number && let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    pad(&mut table);
    table
}

fn empty_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// Sets columns two spaces apart.
fn pad(table: &mut Table) {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
}

/// Returns the name of a field as a reader sees it: the unit is told by the value.
fn title(name: &str) -> String {
    let name = ["_bytes", "_ms"]
        .iter()
        .find_map(|unit| name.strip_suffix(unit))
        .unwrap_or(name);
    name.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(report: &Report, format: Format) -> String {
        let mut out = Vec::new();
        report.write(format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn report() -> Report {
        Report::default()
            .record(
                "totals",
                [("size_bytes", Cell::Size(2048)), ("note", Cell::Empty)],
            )
            .list(
                "rows",
                &["name", "count"],
                [
                    vec![Cell::text("a"), Cell::Count(1000)],
                    vec![Cell::text("bb"), Cell::Count(7)],
                ],
            )
    }

    #[test]
    fn table_shows_units_and_aligns_numbers() {
        let expected = "size  2.0 KiB\nnote  -\n\nrows\nNAME  COUNT\na     1,000\nbb        7\n";
        assert_eq!(written(&report(), Format::Table), expected);
    }

    #[test]
    fn lines_name_their_part() {
        let expected = concat!(
            "{\"note\":null,\"part\":\"totals\",\"size_bytes\":2048}\n",
            "{\"count\":1000,\"name\":\"a\",\"part\":\"rows\"}\n",
            "{\"count\":7,\"name\":\"bb\",\"part\":\"rows\"}\n"
        );
        assert_eq!(written(&report(), Format::Ndjson), expected);
    }

    #[test]
    fn only_part_is_the_document() {
        let report = Report::default().list("rows", &["name"], [vec![Cell::text("a")]]);
        let document: Value = serde_json::from_str(&written(&report, Format::Json)).unwrap();
        assert_eq!(document, serde_json::json!([{"name": "a"}]));
    }

    #[test]
    fn parts_of_csv_are_set_apart() {
        assert_eq!(
            written(&report(), Format::Csv),
            "size_bytes,note\n2048,\n\nname,count\na,1000\nbb,7\n"
        );
    }
}
