#if ISCSI
    import BlockStorage
    import Glibc
    import IORuntime
    import SystemPackage

    /// Where a portal is.
    struct ISCSIAddress: CustomStringConvertible {
        /// In numbers.
        var host: String
        var port: UInt16

        var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

        static let defaultPort: UInt16 = 3260

        /// The host and the port of `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`, perhaps with `,GROUP` behind.
        static func parse(_ portal: String) -> (host: String, port: UInt16)? {
            let address = portal.prefix { $0 != "," }
            var host = address
            var port = Substring()
            if address.hasPrefix("[") {
                guard let end = address.firstIndex(of: "]") else { return nil }
                host = address[address.index(after: address.startIndex)..<end]
                port = address[address.index(after: end)...]
            } else if let colon = address.firstIndex(of: ":"), !address[address.index(after: colon)...].contains(":") {
                host = address[..<colon]
                port = address[colon...]
            }
            guard !host.isEmpty, !host.utf8.contains(0) else { return nil }
            if port.isEmpty { return (String(host), defaultPort) }
            guard port.hasPrefix(":"), let number = UInt16(port.dropFirst()), number > 0 else { return nil }
            return (String(host), number)
        }

        /// The first address of a portal.
        static func resolve(_ portal: String, _ pool: BlockingPool) async throws(StorageError) -> ISCSIAddress {
            guard let (host, port) = parse(portal) else {
                throw StorageError(.invalidArgument, "connect", at: portal, why: "this is not HOST:PORT")
            }
            do throws(SystemError) {
                return try await pool.call("getaddrinfo", portal) { () throws(SystemError) in
                    var hints = unsafe addrinfo()
                    unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
                    var list: UnsafeMutablePointer<addrinfo>?
                    guard unsafe getaddrinfo(host, String(port), &hints, &list) == 0, let first = unsafe list else {
                        throw SystemError(.addressNotAvailable, "getaddrinfo")
                    }
                    defer { unsafe freeaddrinfo(list) }
                    return unsafe ISCSIAddress(
                        host: try text(first.pointee.ai_addr, first.pointee.ai_addrlen), port: port)
                }
            } catch {
                let code: StorageError.Code = error.errno == .timedOut ? .timedOut : .connectionLost
                throw StorageError(code, "connect", at: portal, why: "its name has no address")
            }
        }

        private static func text(
            _ address: UnsafePointer<sockaddr>, _ length: socklen_t
        ) throws(SystemError) -> String {
            var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            guard
                unsafe getnameinfo(address, length, &host, socklen_t(host.count), nil, 0, NI_NUMERICHOST) == 0
            else { throw SystemError(.addressNotAvailable, "getnameinfo") }
            return unsafe host.withUnsafeBytes { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 && $0 != UInt8(ascii: "%") }, as: UTF8.self)
            }
        }
    }
#endif
