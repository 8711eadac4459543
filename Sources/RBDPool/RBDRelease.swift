#if RBD
    import BlockStorage
    import CRBD

    /// Ceph's releases, by the numbers that clusters name them by.
    enum RBDRelease {
        /// Of this librbd, as far as it is known; later ones are taken for the latest.
        static var installed: Int {
            var (major, minor, extra) = (Int32(0), Int32(0), Int32(0))
            unsafe rbd_version(&major, &minor, &extra)
            return release(ofLibrbd: Int(minor))
        }

        /// librbd 1.16 came with Pacific, and so on.
        static func release(ofLibrbd minor: Int) -> Int {
            switch minor {
            case ...11: 11
            case 12: 14
            case 13...15: 15
            case 16: 16
            case 17: 17
            case 18: 18
            case 19: 19
            default: 20
            }
        }

        static func name(_ release: Int) -> String {
            let names = [
                9: "Infernalis", 10: "Jewel", 11: "Kraken", 12: "Luminous", 13: "Mimic", 14: "Nautilus", 15: "Octopus",
                16: "Pacific", 17: "Quincy", 18: "Reef", 19: "Squid", 20: "Tentacle",
            ]
            return names[release] ?? "release \(release)"
        }

        /// Throws `notSupported`, naming both, where the cluster requires a later release of its clients.
        static func check(installed: Int, required: Int, at place: String) throws(StorageError) {
            guard required > installed else { return }
            throw StorageError(
                .notSupported, "open pool", at: place,
                why: "the cluster requires clients of Ceph \(name(required)) or later, and this librbd is of "
                    + "\(name(installed))")
        }
    }
#endif
