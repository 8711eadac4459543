#if ISCSI
    import BlockStorage

    @testable import ISCSIPool

    extension ISCSISite {
        /// Who has registered with the unit, to have it for its own.
        func facts(of volume: any Volume) async throws -> Set<String> {
            guard let unit = ((volume as? ObservedVolume)?.base as? UnitVolume)?.unit else { return ["no unit"] }
            return ["reserved for \(try await unit.reservationHolder() ?? "nobody")"]
        }
    }
#endif
