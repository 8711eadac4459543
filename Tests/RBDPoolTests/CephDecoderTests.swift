#if RBD
    import BlockStorage
    import IORuntime
    import Testing

    @testable import RBDPool

    @Suite("Answers of Ceph's object classes")
    struct CephDecoderTests {
        @Test("Integers and strings read back; what is cut off throws")
        func coding() throws {
            let bytes = CephDecoder.encode(UInt64(0x0102_0304_0506_0708)) + CephDecoder.encode("image")
            var decoder = CephDecoder(bytes)
            #expect(try decoder.integer(UInt64.self) == 0x0102_0304_0506_0708)
            #expect(try decoder.string() == "image")
            #expect(throws: SystemError.self) { try decoder.integer(UInt8.self) }
            for count in 0..<bytes.count {
                var cut = CephDecoder(Array(bytes.prefix(count)))
                #expect(throws: SystemError.self) {
                    _ = try cut.integer(UInt64.self)
                    _ = try cut.string()
                }
            }
        }

        @Test("A length that cannot be is not believed")
        func lengths() {
            var string = CephDecoder([0xff, 0xff, 0xff, 0xff, 1])
            #expect(throws: SystemError.self) { try string.string() }
            var list = CephDecoder([0xff, 0xff, 0xff, 0xff, 1])
            #expect(throws: SystemError.self) { try list.integers(UInt64.self) }
        }

        @Test("Objects that exist are counted in an object map, and no map makes it read past its end")
        func objectMaps() throws {
            // As a cluster has given it: five objects, of which the second and the last two exist.
            let map: [UInt8] = [
                14, 0, 0, 0, 1, 1, 8, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0b0001_0011, 0b0100_0000, 0, 0, 0, 0,
            ]
            #expect(try CephDecoder.existingObjects(inMap: map) == 3)
            for count in 0..<20 {
                #expect(throws: SystemError.self) { try CephDecoder.existingObjects(inMap: Array(map.prefix(count))) }
            }
            var generator = SeededGenerator(seed: 1)
            for _ in 0..<1000 {
                let bytes = (0..<Int.random(in: 0..<64, using: &generator)).map { _ in
                    UInt8.random(in: 0...255, using: &generator)
                }
                _ = try? CephDecoder.existingObjects(inMap: bytes)
            }
        }
    }

    @Suite("What clusters and images are too new or too old for")
    struct RBDCompatibilityTests {
        @Test("A librbd older than the cluster requires is refused, and both are named")
        func releases() throws {
            try RBDRelease.check(installed: 16, required: 12, at: "c")
            try RBDRelease.check(installed: 16, required: 16, at: "c")
            let refusal = #expect(throws: StorageError.self) {
                try RBDRelease.check(installed: 16, required: 19, at: "c")
            }
            #expect(refusal?.code == .notSupported)
            #expect(refusal?.why.contains("Squid") == true)
            #expect(refusal?.why.contains("Pacific") == true)
            #expect(RBDRelease.release(ofLibrbd: 16) == 16)
        }

        @Test("Images of format 1 are refused with the reason")
        func oldFormat() throws {
            try RBDImageFormat.check(isOld: false, "open volume", at: "p/v")
            let refusal = #expect(throws: StorageError.self) {
                try RBDImageFormat.check(isOld: true, "open volume", at: "p/v")
            }
            #expect(refusal?.code == .notSupported)
            #expect(refusal?.why.contains("format 1") == true)
        }

        @Test("Images with features that are not known are refused, and the features named")
        func features() throws {
            try RBDFeatures.check(61, "open volume", at: "p/v")
            let refusal = #expect(throws: StorageError.self) {
                try RBDFeatures.check(61 | 1 << 40, "open volume", at: "p/v")
            }
            #expect(refusal?.code == .notSupported)
            #expect(refusal?.why.contains("40") == true)
            #expect(RBDFeatures.text(1 | 1 << 2 | 1 << 40, RBDFeatures.names) == "layering, exclusive-lock, bit 40")
        }

        @Test("A range is cut at multiples, and nothing of it is lost")
        func parts() {
            #expect(Array((0..<0 as Range<UInt64>).parts(of: 4)) == [])
            #expect(Array((1..<10 as Range<UInt64>).parts(of: 4)) == [1..<4, 4..<8, 8..<10])
            #expect(Array((UInt64.max - 5..<UInt64.max).parts(of: 1 << 20)) == [UInt64.max - 5..<UInt64.max])
        }

        @Test("A policy becomes librbd's limits, and no limits are left of none")
        func limits() throws {
            #expect(RBDLimits(nil).metadata.isEmpty)
            #expect(RBDLimits(try QoSPolicy(minIOPS: 100)).metadata.isEmpty)
            #expect(
                RBDLimits(try QoSPolicy(maxIOPS: 500, burstIOPS: 500)).metadata == ["conf_rbd_qos_iops_limit": "500"])
            let burst = RBDLimits(try QoSPolicy(maxIOPS: 500, burstIOPS: 1000)).metadata
            #expect(burst["conf_rbd_qos_iops_burst"] == "1000")
            #expect(burst["conf_rbd_qos_iops_burst_seconds"] == "30")
            #expect(Set(burst.keys).isSubset(of: RBDLimits.keys))
        }
    }
#endif
