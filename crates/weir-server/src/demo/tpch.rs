//! The eight TPC-H tables.

use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

use super::data::Table;

/// Largest first, so that workers which take one after the other end at about the same time. Row counts are exact
/// but for `lineitem`, whose orders have four lines on average.
pub(super) const TABLES: [Table; 8] = [
    Table {
        schema: "tpch",
        name: "lineitem",
        rows: |scale| OrderGenerator::calculate_row_count(scale, 1, 1) * 4,
        open: |scale| Box::new(LineItemArrow::new(LineItemGenerator::new(scale, 1, 1))),
    },
    Table {
        schema: "tpch",
        name: "orders",
        rows: |scale| OrderGenerator::calculate_row_count(scale, 1, 1),
        open: |scale| Box::new(OrderArrow::new(OrderGenerator::new(scale, 1, 1))),
    },
    Table {
        schema: "tpch",
        name: "partsupp",
        rows: |scale| PartSuppGenerator::calculate_row_count(scale, 1, 1),
        open: |scale| Box::new(PartSuppArrow::new(PartSuppGenerator::new(scale, 1, 1))),
    },
    Table {
        schema: "tpch",
        name: "part",
        rows: |scale| PartGenerator::calculate_row_count(scale, 1, 1),
        open: |scale| Box::new(PartArrow::new(PartGenerator::new(scale, 1, 1))),
    },
    Table {
        schema: "tpch",
        name: "customer",
        rows: |scale| CustomerGenerator::calculate_row_count(scale, 1, 1),
        open: |scale| Box::new(CustomerArrow::new(CustomerGenerator::new(scale, 1, 1))),
    },
    Table {
        schema: "tpch",
        name: "supplier",
        rows: |scale| SupplierGenerator::calculate_row_count(scale, 1, 1),
        open: |scale| Box::new(SupplierArrow::new(SupplierGenerator::new(scale, 1, 1))),
    },
    Table {
        schema: "tpch",
        name: "nation",
        rows: |_| 25,
        open: |scale| Box::new(NationArrow::new(NationGenerator::new(scale, 1, 1))),
    },
    Table {
        schema: "tpch",
        name: "region",
        rows: |_| 5,
        open: |scale| Box::new(RegionArrow::new(RegionGenerator::new(scale, 1, 1))),
    },
];
