//! Tests of the public grid.

use super::*;
use proptest::prelude::*;

const DENVER: (f64, f64) = (39.7392, -104.9903);

/// Great-circle distance in metres (haversine) on the same sphere.
fn distance_m(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (lat_a, lat_b) = (a.0.to_radians(), b.0.to_radians());
    let (dlat, dlon) = ((b.0 - a.0).to_radians(), (b.1 - a.1).to_radians());
    let h = (dlat / 2.0).sin().powi(2) + lat_a.cos() * lat_b.cos() * (dlon / 2.0).sin().powi(2);
    2.0 * DEGREE_M.to_degrees() * h.sqrt().min(1.0).asin()
}

#[test]
fn golden_cells_do_not_move() {
    let text = |lat, lon, size_m| cell(lat, lon, size_m).unwrap().to_string();
    assert_eq!(text(DENVER.0, DENVER.1, 250), "g250:17675:-35908");
    assert_eq!(text(DENVER.0, DENVER.1, 1_000), "g1000:4418:-8977");
    assert_eq!(text(-33.8688, 151.2093, 250), "g250:-15065:55841");
    assert_eq!(text(64.1466, -21.9426, 500), "g500:14265:-2128");
}

#[test]
fn one_house_and_its_neighbour_blur_alike() {
    let home = cell(DENVER.0, DENVER.1, CELL_SIZE_M).unwrap();
    let (lat, lon) = home.center();
    assert_eq!(cell(lat, lon, CELL_SIZE_M).unwrap(), home);
    assert_eq!(cell(lat + 0.0005, lon - 0.0005, CELL_SIZE_M).unwrap(), home);
}

#[test]
fn positions_off_the_earth_are_refused() {
    for (lat, lon, field) in [
        (f64::NAN, 0.0, "lat"),
        (10.0, f64::NAN, "lon"),
        (f64::INFINITY, 0.0, "lat"),
        (90.000_1, 0.0, "lat"),
        (-90.000_1, 0.0, "lat"),
        (10.0, 180.000_1, "lon"),
        (10.0, f64::NEG_INFINITY, "lon"),
        (-104.9903, 39.7392, "lat"),
    ] {
        assert_eq!(cell(lat, lon, 250).unwrap_err().field, field, "{lat} {lon}");
    }
}

#[test]
fn the_position_of_nowhere_is_refused() {
    for (lat, lon) in [(0.0, 0.0), (-0.0, 0.0), (2e-6, -1e-6)] {
        assert!(cell(lat, lon, 250).unwrap_err().problem.contains("0,0"));
    }
    assert!(cell(0.0, 9.45, 250).is_ok(), "the equator in Gabon is a place");
    assert!(cell(51.48, 0.0, 250).is_ok(), "Greenwich is a place");
}

#[test]
fn sizes_out_of_range_are_refused() {
    for size_m in [0, CELL_SIZE_M_MIN - 1, CELL_SIZE_M_MAX + 1, u32::MAX] {
        assert_eq!(cell(DENVER.0, DENVER.1, size_m).unwrap_err().field, "size_m");
    }
}

#[test]
fn the_antimeridian_is_one_line() {
    for size_m in [CELL_SIZE_M_MIN, 250, CELL_SIZE_M_MAX] {
        let east = cell(-16.8, 180.0, size_m).unwrap();
        let west = cell(-16.8, -180.0, size_m).unwrap();
        assert_eq!(east, west);
        let just_before = cell(-16.8, 179.999_999_999, size_m).unwrap();
        assert_eq!(just_before.column, -west.column - 1);
    }
}

#[test]
fn the_poles_lie_in_the_outermost_rows() {
    for size_m in [CELL_SIZE_M_MIN, 250, 251, CELL_SIZE_M_MAX] {
        for lon in [-180.0, -0.1, 0.0, 77.0, 180.0] {
            let north = cell(90.0, lon, size_m).unwrap();
            let south = cell(-90.0, lon, size_m).unwrap();
            assert_eq!(north.row, -south.row - 1);
            assert_eq!(north.bounds().north, 90.0);
            assert_eq!(south.bounds().south, -90.0);
            assert_eq!(north.to_string().parse::<Cell>().unwrap(), north);
        }
    }
}

#[test]
fn every_size_has_a_cell_at_both_poles() {
    for size_m in CELL_SIZE_M_MIN..=CELL_SIZE_M_MAX {
        for lat in [-90.0, 90.0] {
            let pole = cell(lat, 10.0, size_m).unwrap();
            assert_eq!(pole.to_string().parse(), Ok(pole));
            assert!(pole.bounds().south < pole.bounds().north, "{pole}");
        }
    }
}

#[test]
fn text_that_is_no_cell_is_refused() {
    for bad in [
        "",
        "g",
        "250:1:1",
        "g250",
        "g250:1",
        "g250:1:1:1",
        "g250:+1:1",
        "g250:01:1",
        "g250:-0:1",
        "g250:1: 1",
        "G250:1:1",
        "g250:x:1",
        "g250:1.5:1",
        "g10:1:1",
        "g250:2147483647:0",
        "g250:-2147483648:0",
        "g250:0:2147483647",
        "g250:99999999999:0",
        "g250:0:90000",
        "g250:40031:0",
    ] {
        assert!(bad.parse::<Cell>().is_err(), "{bad:?}");
        assert!(center(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_own_cosine_agrees_with_the_platform() {
    for tenth in 0..=900 {
        let degrees = f64::from(tenth) / 10.0;
        let error = (cos_deg(degrees) - degrees.to_radians().cos()).abs();
        assert!(error < 1e-15, "{degrees}: {error}");
    }
}

fn positions() -> impl Strategy<Value = (f64, f64)> {
    let lat = prop_oneof![8 => -85.0..85.0, 1 => 85.0..=90.0, 1 => -90.0..-85.0];
    let lon = prop_oneof![8 => -180.0..=180.0, 1 => 179.99..=180.0, 1 => -180.0..-179.99];
    (lat, lon).prop_filter("0,0 is refused", |&(lat, lon)| check_position(lat, lon).is_ok())
}

fn sizes() -> impl Strategy<Value = u32> {
    prop_oneof![Just(CELL_SIZE_M), CELL_SIZE_M_MIN..=CELL_SIZE_M_MAX]
}

proptest! {
    #[test]
    fn a_point_lies_within_its_cell((lat, lon) in positions(), size_m in sizes()) {
        let bounds = cell(lat, lon, size_m).unwrap().bounds();
        // The edges are computed the other way round, so the last bit may differ.
        let slack = 1e-9;
        prop_assert!(bounds.south - slack <= lat && lat <= bounds.north + slack);
        let lon = if lon >= 180.0 { -180.0 } else { lon };
        prop_assert!(bounds.west - slack <= lon && lon <= bounds.east + slack);
    }

    #[test]
    fn a_cell_is_never_narrower_than_its_size(lat in -85.0..85.0, lon in 1.0..180.0, size_m in 50u32..2_000) {
        let b = cell(lat, lon, size_m).unwrap().bounds();
        let narrow_edge = if lat >= 0.0 { b.north } else { b.south };
        let width_m = (b.east - b.west) * DEGREE_M * narrow_edge.to_radians().cos();
        prop_assert!(width_m >= f64::from(size_m) * (1.0 - 1e-9), "{width_m}");
        prop_assert!(width_m <= f64::from(size_m) * 1.01, "{width_m}");
    }

    #[test]
    fn the_same_cell_comes_back_from_its_text_and_its_center((lat, lon) in positions(), size_m in sizes()) {
        let made = cell(lat, lon, size_m).unwrap();
        prop_assert_eq!(made.to_string().parse::<Cell>().unwrap(), made);
        let (lat, lon) = made.center();
        prop_assert_eq!(center(&made.to_string()).unwrap(), (lat, lon));
        prop_assume!(check_position(lat, lon).is_ok());
        prop_assert_eq!(cell(lat, lon, size_m).unwrap(), made);
    }

    #[test]
    fn neighbours_differ(lat in -80.0..80.0, lon in -179.0..179.0, size_m in 50u32..2_000) {
        let here = cell(lat, lon, size_m);
        prop_assume!(here.is_ok());
        let here = here.unwrap();
        let step_lat = f64::from(size_m) * 1.02 / DEGREE_M;
        let step_lon = step_lat / lat.to_radians().cos();
        prop_assert_ne!(cell(lat + step_lat, lon, size_m), Ok(here));
        prop_assert_ne!(cell(lat, lon + step_lon, size_m), Ok(here));
    }

    #[test]
    fn a_point_is_at_most_half_a_diagonal_from_the_center(
        lat in -85.0..85.0, lon in -180.0..180.0, size_m in 50u32..2_000,
    ) {
        let made = cell(lat, lon, size_m);
        prop_assume!(made.is_ok());
        let made = made.unwrap();
        let b = made.bounds();
        let wide_edge = if lat >= 0.0 { b.south } else { b.north };
        let half_diagonal_m = distance_m(made.center(), (wide_edge, b.west));
        let away_m = distance_m((lat, lon), made.center());
        prop_assert!(away_m <= half_diagonal_m + 1e-3, "{away_m} {half_diagonal_m}");
        prop_assert!(half_diagonal_m <= f64::from(size_m) * 0.7072 * 1.01, "{half_diagonal_m}");
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "g?[0-9:+-]{0,24}") {
        if let Ok(cell) = text.parse::<Cell>() {
            prop_assert_eq!(cell.to_string(), text);
            let (lat, lon) = cell.center();
            prop_assert!((-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon));
        }
    }
}
