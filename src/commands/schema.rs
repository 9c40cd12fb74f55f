//! `schema`: the tables' columns for people, DuckDB and Spark, derived from the Arrow schemas that are written.

use std::fmt::Write as _;

use arrow::datatypes::{DataType, Field, Schema};

use super::{Failure, exit, print};
use crate::{
    cli::{SchemaArgs, SchemaFormat},
    dataset::{HISTORY, TARGETS, UNDATED, targets_schema},
    decode,
};

pub(super) fn schema(arguments: &SchemaArgs) -> Result<u8, Failure> {
    let tables =
        [(HISTORY, decode::schema::history()), (UNDATED, decode::schema::undated()), (TARGETS, targets_schema(&[]))];
    let mut text = String::new();
    for (number, (name, schema)) in tables.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        match arguments.format {
            SchemaFormat::Arrow => arrow(&mut text, name, schema),
            SchemaFormat::Duckdb => ddl(&mut text, name, schema, &DUCKDB, ");"),
            SchemaFormat::Spark => ddl(&mut text, name, schema, &SPARK, ") USING parquet;"),
            SchemaFormat::Markdown => markdown(&mut text, name, schema),
        }
    }
    print(&text)?;
    Ok(exit::SUCCESS)
}

fn arrow(text: &mut String, name: &str, schema: &Schema) {
    push_line(text, format_args!("{name}"));
    for field in schema.fields() {
        let nullable = if field.is_nullable() { "" } else { " not null" };
        push_line(text, format_args!("  {}: {}{nullable}", field.name(), PLAIN.name(field.data_type())));
    }
}

fn markdown(text: &mut String, name: &str, schema: &Schema) {
    push_line(text, format_args!("## {name}\n\n| column | type | null |\n| --- | --- | --- |"));
    for field in schema.fields() {
        let nullable = if field.is_nullable() { "yes" } else { "no" };
        push_line(text, format_args!("| `{}` | {} | {nullable} |", field.name(), PLAIN.name(field.data_type())));
    }
}

fn ddl(text: &mut String, table: &str, schema: &Schema, types: &Types, end: &str) {
    push_line(text, format_args!("CREATE TABLE {table} ("));
    let last = schema.fields().len() - 1;
    for (number, field) in schema.fields().iter().enumerate() {
        let nullable = if field.is_nullable() { "" } else { " NOT NULL" };
        let comma = if number < last { "," } else { "" };
        push_line(text, format_args!("  {} {}{nullable}{comma}", field.name(), types.name(field.data_type())));
    }
    push_line(text, format_args!("{end}"));
}

fn push_line(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{words}");
}

struct Types {
    text: &'static str,
    integer: &'static str,
    double: &'static str,
    boolean: &'static str,
    date: &'static str,
    timestamp: &'static str,
    list: fn(String) -> String,
    map: fn(String, String) -> String,
}

/// Names as the documentation uses them.
const PLAIN: Types = Types {
    text: "string",
    integer: "int64",
    double: "double",
    boolean: "boolean",
    date: "date",
    timestamp: "timestamp, microseconds, UTC",
    list: |item| format!("list<{item}>"),
    map: |key, value| format!("map<{key}, {value}>"),
};

const DUCKDB: Types = Types {
    text: "VARCHAR",
    integer: "BIGINT",
    double: "DOUBLE",
    boolean: "BOOLEAN",
    date: "DATE",
    timestamp: "TIMESTAMP WITH TIME ZONE",
    list: |item| format!("{item}[]"),
    map: |key, value| format!("MAP({key}, {value})"),
};

const SPARK: Types = Types {
    text: "STRING",
    timestamp: "TIMESTAMP",
    list: |item| format!("ARRAY<{item}>"),
    map: |key, value| format!("MAP<{key}, {value}>"),
    ..DUCKDB
};

impl Types {
    fn name(&self, kind: &DataType) -> String {
        let name = match kind {
            DataType::Utf8 => self.text,
            DataType::Int64 => self.integer,
            DataType::Float64 => self.double,
            DataType::Boolean => self.boolean,
            DataType::Date32 => self.date,
            DataType::Timestamp(..) => self.timestamp,
            DataType::List(item) => return (self.list)(self.name(item.data_type())),
            DataType::Map(entries, _) => {
                let (key, value) = key_and_value(entries);
                return (self.map)(self.name(key), self.name(value));
            }
            other => return other.to_string(),
        };
        name.to_owned()
    }
}

fn key_and_value(entries: &Field) -> (&DataType, &DataType) {
    match entries.data_type() {
        DataType::Struct(fields) if fields.len() == 2 => (fields[0].data_type(), fields[1].data_type()),
        other => (other, other),
    }
}
